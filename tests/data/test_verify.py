"""Whatever happens to prepared data afterwards, `samjax data verify` finds it and names it."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from array_record.python import array_record_module
from shards import good, record, write_tar

from data_pipelines.prepare_report import PrepareReport
from data_pipelines.sa1b import LocalRun, prepare
from data_pipelines.verify import verify
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.data.records import masks as records

SHARDS = 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify")
    for number in range(SHARDS):
        write_tar(folder / f"tars/sa_00000{number}.tar", good(40, 1 + 40 * number))
    prepare(str(folder / "tars"), folder / "out", run=LocalRun(workers=1))
    return folder / "out"


@pytest.fixture
def out(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "out")
    return tmp_path / "out"


def shard(folder, number):
    return folder / f"sa1b-train.array_record-{number:05d}-of-{SHARDS:05d}"


def test_hidden_files_are_no_shards(out):
    (out / f"._{shard(out, 0).name}").write_bytes(b"x")
    assert verify(str(out), sample=1).problems == ()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_was_prepared_is_all_there(whole, workers):
    report = verify(str(whole), workers=workers, sample=6)
    assert report.problems == ()
    assert (report.records, report.masks, report.shards, report.sample) == (120, 240, 3, 6)
    assert report.area == json.loads((whole / "prepare_report.json").read_text())["area"] > 0


def test_every_record_is_decoded_where_asked(whole):
    assert verify(str(whole), sample=10**6).sample == 120
    assert verify(str(whole), sample=0).sample == 0


def test_any_flipped_bit_is_found_and_its_shard_named(out):
    whole = shard(out, 1).read_bytes()
    random = np.random.default_rng(0)
    for at in [0, len(whole) - 1, *random.integers(0, len(whole), 8).tolist()]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(random.integers(8))
        shard(out, 1).write_bytes(damaged)
        problems = verify(str(out), sample=1).problems
        assert problems
        assert all(shard(out, 1).name in problem for problem in problems), at


def test_a_damaged_record_is_named(out):
    content = bytearray(shard(out, 2).read_bytes())
    content[40_000] ^= 1
    shard(out, 2).write_bytes(content)
    problems = verify(str(out)).problems
    assert any(re.match(rf"{shard(out, 2).name}, record \d+: cannot be read", problem) for problem in problems)
    assert any("records 39 but the report says 40" in problem for problem in problems)


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), "bytes but the report says"),
        (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "bytes but the report says"),
        (lambda path: path.write_bytes(b""), "cannot be opened|holds 0 records"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "is damaged"),
        (lambda path: shutil.copy(shard(path.parent, 0), path), "40 image ids come more than once: 1, 2, 3, 4, 5"),
        (lambda path: shutil.copy(path, f"{path}-9"), "is not named by dataset_info.json"),
    ],
    ids=["missing", "cut", "half", "empty", "zeros", "another", "left over"],
)
def test_a_bad_shard_is_named(out, capsys, break_it, says):
    break_it(shard(out, 1))
    problems = verify(str(out)).problems
    assert any(part in problem for problem in problems for part in says.split("|")), problems
    capsys.readouterr()
    assert main(["data", "verify", str(out), "--workers", "1"]) == 2
    said = capsys.readouterr()
    assert all(problem in said.out for problem in problems)
    assert f"{len(problems)} problems" in said.err


def rewrite(folder, number, items):
    """Write a shard again, whole and well, but with other records; its report is taken away."""
    writer = array_record_module.ArrayRecordWriter(str(shard(folder, number)), "group_size:1")
    for item in items:
        writer.write(records.encode_record(item))
    writer.close()
    (folder / "prepare_report.json").unlink()


def altered(number, **changes):
    item = record(number)
    first = dataclasses.replace(item.annotations[0], **changes)
    return dataclasses.replace(item, annotations=(first, *item.annotations[1:]))


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (altered(1, area=5), "record 0: annotation 0: area is 5 but the mask covers"),
        (altered(1, counts="0"), "record 0: runs cover 0 pixels"),
        (dataclasses.replace(record(1), jpeg=record(1).jpeg[:-2]), "record 0: JPEG is cut short"),
        (dataclasses.replace(record(1), height=25), "record 0: photo is 24 x 32 but its record says 25 x 32"),
    ],
)
def test_a_record_that_contradicts_itself_is_named(out, item, says):
    """Data that TFDS or another wrote has no report, and its files are sound."""
    rewrite(out, 0, [item, *(record(number) for number in range(2, 41))])
    report = verify(str(out))
    assert not report.against_report
    assert len(report.problems) == 1
    assert f"{shard(out, 0).name}, {says}" in report.problems[0]


def test_a_shard_of_another_length_is_named(out):
    rewrite(out, 0, [record(number) for number in range(1, 40)])
    (problem,) = verify(str(out)).problems
    assert problem == f"{shard(out, 0).name} holds 39 records but dataset_info.json says 40"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("prepare_report.json", "{", "prepare_report.json is damaged"),
        ("prepare_report.json", "[]", "prepare_report.json is damaged"),
        ("prepare_report.json", '{"shards": [{}]}', "prepare_report.json is damaged"),
    ],
)
def test_a_damaged_report_is_named(out, name, content, says):
    (out / name).write_text(content)
    (problem,) = verify(str(out)).problems
    assert says in problem


@pytest.mark.parametrize(("what", "shown"), [("records", "121"), ("masks", "241"), ("area", "")])
def test_a_report_that_does_not_add_up_is_named(out, what, shown):
    report = json.loads((out / "prepare_report.json").read_text())
    report[what] += 1
    (out / "prepare_report.json").write_text(json.dumps(report))
    (problem,) = verify(str(out)).problems
    assert f"says {shown}" in problem
    assert f"{what} in all" in problem


def test_a_source_that_gave_nothing_is_named(out):
    """A tar of zeros alone, prepared when that was taken for a whole one."""
    report = json.loads((out / "prepare_report.json").read_text())
    nothing = {"records": 0, "masks": 0, "area": 0, "size": 0, "sha256": "", "file": ""}
    report["shards"].append({**nothing, "source": "tars/sa_000003.tar", "key": "0"})
    (out / "prepare_report.json").write_text(json.dumps(report))
    (problem,) = verify(str(out)).problems
    assert problem.startswith("tars/sa_000003.tar gave no photo")
    assert "1 of 4 sources gave no photo: tars/sa_000003.tar" in PrepareReport.from_json(json.dumps(report)).text()


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_damaged_metadata_is_refused(out, name):
    (out / name).write_text("{")
    with pytest.raises(UserError, match="holds no readable TFDS data set"):
        verify(str(out))


def test_nothing_to_verify_is_refused(tmp_path, capsys):
    assert main(["data", "verify", str(tmp_path)]) == 2
    assert "holds no dataset_info.json" in capsys.readouterr().err
    assert main(["data", "verify", str(tmp_path), "--sample", "-1"]) == 2
    assert main(["data", "verify", str(tmp_path), "--deep"]) == 2
    assert "does not know --deep" in capsys.readouterr().err
