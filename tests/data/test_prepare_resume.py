"""A preparation ends at any moment, goes on later, and gives what an uninterrupted one gives."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shards import good, members, record, write_tar

from data_pipelines import local_run, preparation, sa1b, storage
from data_pipelines.sa1b import LocalRun, prepare
from data_pipelines.verify import verify
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.data.records.masks import decode_record
from samjax.data.stream.sources import open_source

ROOT = Path(__file__).parent.parent.parent
SERIAL, PARALLEL = LocalRun(workers=1), LocalRun(workers=2)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ids(folder, split="train"):
    source = open_source(str(folder), split)
    return [decode_record(source[index]).image_id for index in range(len(source))]


@pytest.fixture
def tars(tmp_path):
    """Three tars; photo 5 is in the first and in the second."""
    for number, first in enumerate((1, 5, 11)):
        write_tar(tmp_path / f"tars/sa_00000{number}.tar", good(5, first))
    return tmp_path / "tars"


@pytest.fixture
def calls(monkeypatch):
    """The names of the units that shards were made of."""
    made, make_shard = [], local_run.make_shard

    def counted(unit, *arguments, **named):
        made.append(unit.name)
        return make_shard(unit, *arguments, **named)

    monkeypatch.setattr(local_run, "make_shard", counted)
    return made


def test_any_number_of_processes_gives_the_same_bytes(tars, tmp_path):
    first = prepare(str(tars), tmp_path / "serial", run=SERIAL)
    second = prepare(str(tars), tmp_path / "parallel", run=PARALLEL)
    assert first == second
    assert contents(tmp_path / "serial") == contents(tmp_path / "parallel")
    assert first.records == 14
    assert first.reasons == {"duplicate": 1}


def test_of_two_photos_with_one_id_the_first_in_the_source_stays(tars, tmp_path):
    report = prepare(str(tars), tmp_path / "out", run=SERIAL)
    assert ids(tmp_path / "out") == [*range(1, 6), *range(6, 10), *range(11, 16)]
    (example,) = report.examples
    assert example == "sa_000001.tar: sa_5: image_id 5 was seen before"
    assert [shard.records for shard in report.shards] == [5, 4, 5]
    assert [shard.masks for shard in report.shards] == [10, 8, 10]
    assert (tmp_path / "out/prepare_dropped.jsonl").read_text().count("\n") == 1
    assert verify(str(tmp_path / "out")).problems == ()


def test_a_tar_that_holds_only_what_came_before_makes_no_shard(tars, tmp_path):
    write_tar(tars / "sa_000009.tar", members(record(1)))
    with pytest.raises(UserError, match="2 of 16 records cannot be used"):
        prepare(str(tars), tmp_path / "out", run=SERIAL)
    (tars / "sa_000001.tar").unlink()
    with pytest.raises(UserError, match=r"1 finished sources are missing now, .*sa_000001.tar"):
        prepare(str(tars), tmp_path / "out", run=SERIAL)
    report = prepare(str(tars), tmp_path / "other", run=SERIAL)
    assert [shard.file[-14:] for shard in report.shards] == ["00000-of-00002", "00001-of-00002", ""]
    assert verify(str(tmp_path / "other")).problems == ()


def kill_everywhere(tars, folder, *, stride):
    command = [sys.executable, ROOT / "tests/data/killed_prepare.py", tars, folder, str(stride)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_kill_at_some_places_changes_nothing(tars, tmp_path):
    assert kill_everywhere(tars, tmp_path, stride=8) >= 6


@pytest.mark.slow
def test_a_kill_at_every_place_changes_nothing(tars, tmp_path):
    assert kill_everywhere(tars, tmp_path, stride=1) >= 43


def children_of(process):
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, *, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_kill_halfway_takes_the_workers_along_and_loses_nothing(tmp_path):
    for number in range(24):
        write_tar(tmp_path / f"tars/sa_{number:06d}.tar", good(30, 1 + 30 * number))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "samjax.cli.main", "data", "prepare", "--workers", "2", "--source"]
    command += [str(tmp_path / "tars"), "--out", str(out)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE) as process:
        wait_until(lambda: list(out.glob(".prepare/*.json")) or process.poll() is not None)
        workers = children_of(process.pid)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert len(workers) >= 2
    wait_until(lambda: not any(alive(worker) for worker in workers), seconds=10)
    assert not (out / "dataset_info.json").exists()
    done = {path.name: path.stat().st_ino for path in out.glob(".prepare/*.array_record")}
    assert 0 < len(done) < 24
    report = prepare(str(tmp_path / "tars"), out, run=SERIAL)
    whole = prepare(str(tmp_path / "tars"), tmp_path / "whole", run=SERIAL)
    assert report == whole
    assert contents(out) == contents(tmp_path / "whole")
    kept = {path.stat().st_ino for path in out.glob("*.array_record-*")} & set(done.values())
    assert len(kept) >= len(done) - 2, "shards that were finished are not made again"


@pytest.mark.parametrize("after", range(6))
def test_no_shard_is_made_again_after_an_end_while_they_are_named(tars, tmp_path, calls, monkeypatch, after):
    """The last minutes of days of work: names are given, one shard is written again without its duplicate."""
    moves = 0
    folder = storage.Folder

    def failing(operation):
        def wrapped(*arguments, **named):
            nonlocal moves
            moves += 1
            if moves > after:
                raise KeyboardInterrupt
            return operation(*arguments, **named)

        return wrapped

    def publish(*arguments, **named):
        with monkeypatch.context() as patched:
            patched.setattr(folder, "rename", failing(folder.rename))
            patched.setattr(folder, "write", failing(folder.write))
            return whole_publish(*arguments, **named)

    whole_publish = preparation.OutFolder.publish
    monkeypatch.setattr(preparation.OutFolder, "publish", publish)
    with pytest.raises(KeyboardInterrupt):
        prepare(str(tars), tmp_path / "out", run=SERIAL)
    assert len(calls) == 3
    monkeypatch.setattr(preparation.OutFolder, "publish", whole_publish)
    calls.clear()
    prepare(str(tars), tmp_path / "out", run=SERIAL)
    assert calls == []
    prepare(str(tars), tmp_path / "whole", run=SERIAL)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("run", [SERIAL, PARALLEL])
def test_a_tar_that_cannot_be_read_leaves_the_others_done(tars, tmp_path, calls, run):
    whole = (tars / "sa_000001.tar").read_bytes()
    (tars / "sa_000001.tar").write_bytes(whole[:5000])
    with pytest.raises(UserError) as failure:
        prepare(str(tars), tmp_path / "out", run=run)
    assert "1 of 3 could not be read: " in str(failure.value)
    assert "sa_000001.tar cannot be read as an uncompressed tar" in str(failure.value)
    assert "the other 2 are done and kept" in str(failure.value)
    (tars / "sa_000001.tar").write_bytes(whole)
    calls.clear()
    prepare(str(tars), tmp_path / "out", run=SERIAL)
    assert calls == ["sa_000001.tar"]
    prepare(str(tars), tmp_path / "whole", run=SERIAL)
    keys = [[shard.key for shard in sa1b_report(tmp_path / name).shards] for name in ("out", "whole")]
    assert keys[0] == keys[1]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def sa1b_report(folder):
    return sa1b.PrepareReport.from_json((folder / "prepare_report.json").read_text())


def test_a_tar_that_cannot_be_read_can_be_left_out(tars, tmp_path, calls):
    (tars / "sa_000001.tar").write_bytes(b"")
    with pytest.raises(UserError, match="could not be read"):
        prepare(str(tars), tmp_path / "out", run=SERIAL)
    calls.clear()
    (tars / "sa_000001.tar").unlink()
    assert prepare(str(tars), tmp_path / "out", run=SERIAL).records == 10
    assert calls == []


def test_a_tar_that_changed_since_is_prepared_again(tars, tmp_path, calls, caplog):
    (tars / "sa_000002.tar").write_bytes(b"")
    with pytest.raises(UserError):
        prepare(str(tars), tmp_path / "out", run=SERIAL)
    calls.clear()
    write_tar(tars / "sa_000001.tar", good(2, 101))
    write_tar(tars / "sa_000002.tar", good(2, 201))
    prepare(str(tars), tmp_path / "out", run=SERIAL)
    assert calls == ["sa_000001.tar", "sa_000002.tar"]
    assert "sa_000001.tar changed since" in caplog.text
    assert ids(tmp_path / "out") == [1, 2, 3, 4, 5, 101, 102, 201, 202]


def test_what_is_whole_is_left_as_it_is(tars, tmp_path, calls):
    first = prepare(str(tars), tmp_path / "out", run=SERIAL)
    before = contents(tmp_path / "out")
    calls.clear()
    assert prepare(str(tars), tmp_path / "out", run=SERIAL) == first
    assert calls == []
    write_tar(tars / "sa_000001.tar", good(2, 101))
    write_tar(tars / "sa_000003.tar", good(2, 201))
    (tars / "sa_000002.tar").unlink()
    with pytest.raises(UserError, match=r"1.tar changed; \S*2.tar gone; \S*3.tar new.*give a new folder"):
        prepare(str(tars), tmp_path / "out", run=SERIAL)
    assert contents(tmp_path / "out") == before


def test_a_tar_that_changes_while_it_is_read_is_noticed(tars, tmp_path):
    def touch(watched):
        os.utime(tars / "sa_000000.tar", (1, 1))

    write_tar(tars / "sa_000000.tar", good(400, 1001))
    with pytest.raises(UserError, match=r"sa_000000.tar changed while it was read"):
        prepare(str(tars), tmp_path / "out", run=SERIAL, watch=touch)


@pytest.mark.parametrize("run", [SERIAL, PARALLEL])
def test_the_verdict_on_bad_records_is_that_of_the_source(tmp_path, run):
    """Whichever tar is done first: eleven bad ones up to the second tar stop it, though a thousand good ones follow."""
    write_tar(tmp_path / "tars/sa_000000.tar", good(50))
    write_tar(tmp_path / "tars/sa_000001.tar", {f"sa_{number}.json": b"{}" for number in range(9001, 9012)})
    write_tar(tmp_path / "tars/sa_000002.tar", good(1200, 101))
    with pytest.raises(UserError, match=r"11 of 61 records cannot be used, more than 1%"):
        prepare(str(tmp_path / "tars"), tmp_path / "out", run=run)


def test_two_at_once_are_kept_apart(tars, tmp_path):
    def again(watched):
        with pytest.raises(UserError, match="is being prepared by another process"):
            prepare(str(tars), tmp_path / "out", run=SERIAL)
        seen.append(watched)

    seen = []
    prepare(str(tars), tmp_path / "out", run=SERIAL, watch=again)
    assert seen
    assert json.loads((tmp_path / "out/dataset_info.json").read_text())["splits"][0]["shardLengths"] == ["5", "4", "5"]


@pytest.mark.parametrize("split", ["", "../x", "a b", "a/b"])
def test_a_split_is_a_plain_name(tars, tmp_path, split):
    with pytest.raises(UserError, match="cannot name a split"):
        prepare(str(tars), tmp_path / "out", split=split)
    assert not (tmp_path / "out").exists()


def test_a_damaged_work_folder_costs_its_shards_alone(tars, tmp_path, calls):
    (tars / "sa_000002.tar").write_bytes(b"")
    with pytest.raises(UserError):
        prepare(str(tars), tmp_path / "out", run=SERIAL)
    shard = min((tmp_path / "out/.prepare").glob("*.array_record"))
    shard.unlink()
    write_tar(tars / "sa_000002.tar", good(5, 11))
    calls.clear()
    prepare(str(tars), tmp_path / "out", run=SERIAL)
    assert len(calls) == 2
    prepare(str(tars), tmp_path / "whole", run=SERIAL)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_runner_without_beam_says_what_to_install(tars, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"--runner needs Apache Beam .* pip install 'samjax\[beam\]'"):
        prepare(str(tars), tmp_path / "out", run=sa1b.BeamRun(runner="DirectRunner"))
    assert not (tmp_path / "out").exists()


def test_ctrl_c_stops_and_keeps_what_is_done(tmp_path):
    for number in range(24):
        write_tar(tmp_path / f"tars/sa_{number:06d}.tar", good(30, 1 + 30 * number))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "samjax.cli.main", "data", "prepare", "--workers", "2", "--source"]
    command += [str(tmp_path / "tars"), "--out", str(out)]
    # Started in the background of a shell, these tests ignore Ctrl-C, and so would what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    with process:
        wait_until(lambda: list(out.glob(".prepare/*.json")) or process.poll() is not None)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers too
        said = process.communicate(timeout=60)[1]
    assert (process.returncode, said.count("\n")) == (130, 1), said
    assert "run the same command again to resume" in said
    assert list(out.glob(".prepare/*.array_record"))
    assert not list(out.glob(".prepare/*.temporary"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workers", "2", "--runner", "DirectRunner"], "--workers does not apply with --runner"),
        (["--project", "x"], "does not know --project x"),
    ],
)
def test_options_that_do_not_go_together_are_refused(tars, tmp_path, capsys, arguments, says):
    assert main(["data", "prepare", "--source", str(tars), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
