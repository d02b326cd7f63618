"""Tars of pairs: every pair once, the same bytes however and whenever, and everything that reads tars reads them."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import fsspec
import pytest
from shards import good, members, record

from data_pipelines import pack_tar
from data_pipelines.pack import pack
from data_pipelines.pack_report import DROPS, REPORT
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.core.folder import lock_folder

TESTS = Path(__file__).parents[1]


def folder_of(path, files):
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def content(out) -> dict[str, bytes]:
    """Return what the tars hold, in their order."""
    found = {}
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                assert member.name not in found
                owner = (member.uid, member.gid, member.uname, member.gname)
                assert (member.mtime, member.mode, *owner) == (0, 0o644, 0, 0, "", "")
                found[member.name] = archive.extractfile(member).read()
    return found


def whole(out) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith(".")}


@pytest.fixture
def pairs(tmp_path):
    """Seven pairs whose names do not sort as their numbers do."""
    return folder_of(tmp_path / "in", good(7, first=7))


def test_every_pair_is_packed_once_in_the_order_of_ids(pairs, tmp_path):
    report = pack(pairs, tmp_path / "out", photos_per_tar=3)
    names = [f"sa_{number}.{suffix}" for number in range(7, 14) for suffix in ("jpg", "json")]
    assert list(content(tmp_path / "out")) == names
    assert content(tmp_path / "out") == {name: (pairs / name).read_bytes() for name in names}
    assert [(tar.file, tar.photos, tar.masks) for tar in report.tars] == [
        ("sa_000000.tar", 3, 6),
        ("sa_000001.tar", 3, 6),
        ("sa_000002.tar", 1, 2),
    ]
    assert (report.photos, report.masks, report.without_masks, report.dropped) == (7, 14, 0, 0)
    for tar in report.tars:
        data = (tmp_path / "out" / tar.file).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (tar.size, tar.sha256)
    assert report.size == sum(tar.size for tar in report.tars)
    assert report.problems() == []
    assert type(report).from_json((tmp_path / "out" / REPORT).read_text()) == report


def test_the_same_bytes_from_copies_by_several_processes(pairs, tmp_path):
    """Neither times, owners, folders nor the number of processes leave a trace."""
    report = pack(pairs, tmp_path / "one", photos_per_tar=2)
    copies = tmp_path / "copies"
    for number in range(7, 14):
        for suffix in ("json", "jpg"):
            target = copies / f"part_{number % 2}" / f"sa_{number}.{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((pairs / target.name).read_bytes())
            os.utime(target, (number, number))
            target.chmod(0o600)
    again = pack(copies, tmp_path / "two", photos_per_tar=2, workers=2)
    assert [tar.sha256 for tar in again.tars] == [tar.sha256 for tar in report.tars]
    assert content(tmp_path / "two") == content(tmp_path / "one")


def test_a_packing_that_is_complete_is_left_alone_and_another_refused(pairs, tmp_path):
    report = pack(pairs, tmp_path / "out")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert pack(pairs, tmp_path / "out") == report
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before
    with pytest.raises(UserError, match="was packed from other pairs, or with other --photos-per-tar"):
        pack(pairs, tmp_path / "out", photos_per_tar=2)
    folder_of(pairs, members(record(99)))
    with pytest.raises(UserError, match="was packed from other pairs"):
        pack(pairs, tmp_path / "out")


def test_a_second_packing_is_refused_while_the_first_runs(pairs, tmp_path):
    with lock_folder(tmp_path / "out"), pytest.raises(UserError, match="is in use by another run"):
        pack(pairs, tmp_path / "out")
    assert pack(pairs, tmp_path / "out").photos == 7


class KilledError(BaseException):
    pass


@pytest.mark.parametrize("at", [1, 5, 6, 9])
def test_a_packing_resumes_where_it_was_stopped(pairs, tmp_path, monkeypatch, at):
    """Tars that are whole are kept; the one in progress leaves nothing, and the bytes are those of one run."""
    pack(pairs, tmp_path / "whole", photos_per_tar=2)
    read, count = pack_tar._read, 0

    def dies(place):
        nonlocal count
        count += 1
        if count == at:
            raise KilledError
        return read(place)

    monkeypatch.setattr(pack_tar, "_read", dies)
    if at < 8:
        with pytest.raises(KilledError):
            pack(pairs, tmp_path / "out", photos_per_tar=2)
        assert len(list((tmp_path / "out").glob("*.tar"))) == (at - 1) // 2
        assert not (tmp_path / "out" / REPORT).exists()
        monkeypatch.setattr(pack_tar, "_read", lambda place: read(place))
    pack(pairs, tmp_path / "out", photos_per_tar=2)
    assert whole(tmp_path / "out") == whole(tmp_path / "whole")


def test_a_pair_that_changes_before_it_resumes_is_packed_anew(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr("data_pipelines.pack.summarise", lambda *_, **__: (_ for _ in ()).throw(KilledError))
    with pytest.raises(KilledError):
        pack(pairs, tmp_path / "out", photos_per_tar=3)
    monkeypatch.undo()
    untouched = (tmp_path / "out" / "sa_000001.tar").stat().st_mtime_ns
    (pairs / "sa_7.json").write_bytes(members(record(7, record(8).annotations and None))["sa_7.json"] + b"\n")
    pack(pairs, tmp_path / "out", photos_per_tar=3)
    assert content(tmp_path / "out")["sa_7.json"].endswith(b"\n")
    assert (tmp_path / "out" / "sa_000001.tar").stat().st_mtime_ns == untouched


def test_kill_9_loses_and_doubles_nothing(pairs, tmp_path):
    """At every file that is moved into place, before and after."""
    script, words = TESTS / "data" / "killed_pack.py", [pairs, tmp_path]
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent}"}
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 2 * 9  # four tars, a result of each, and the report
    for out in tmp_path.glob("killed_*"):
        assert whole(out) == whole(tmp_path / "whole")


FAULTS = {
    "no JSON": ({"sa_500.jpg": b"x"}, "no JSON"),
    "no JPEG": ({"sa_500.json": b"{}"}, "no JPEG"),
    "not JSON": ({"sa_500.jpg": b"x", "sa_500.json": b"{]"}, "not SA-1B JSON"),
    "cut": ({**members(record(500)), "sa_500.jpg": record(500).jpeg[:-20]}, "broken photo"),
    "another id": ({name.replace("500", "501"): text for name, text in members(record(500)).items()}, "another id"),
    "twice": ({f"deep/{name}": text for name, text in members(record(9)).items()}, "duplicate"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_pair_is_skipped_and_counted(pairs, tmp_path, fault):
    """Alone it is tolerated; the counts add up to what is there."""
    files, kind = FAULTS[fault]
    report = pack(folder_of(pairs, files), tmp_path / "out", photos_per_tar=3)
    assert (report.photos, report.dropped, report.reasons) == (7, 1, {kind: 1})
    assert list(content(tmp_path / "out")) == list(content_of(good(7, first=7)))
    (line,) = (tmp_path / "out" / DROPS).read_text().splitlines()
    assert json.loads(line)["kind"] == kind
    assert "1 were dropped" in report.text()
    assert report.problems() == []


def content_of(files):
    return sorted(files, key=lambda name: (int(name[3:].split(".")[0]), name))


def test_more_than_one_percent_of_bad_pairs_end_it(pairs, tmp_path):
    folder_of(pairs, {"sa_1.jpg": b"x", "sa_1.json": b"x", "sa_2.jpg": b"x", "sa_2.json": b"x"})
    with pytest.raises(UserError, match=r"2 of 9 pairs cannot be used, more than 1%, such as in: sa_2: not JSON"):
        pack(pairs, tmp_path / "out")
    assert not (tmp_path / "out" / REPORT).exists()


def test_photos_without_masks_are_packed_and_counted(pairs, tmp_path):
    folder_of(pairs, members(record(1, [])))
    report = pack(pairs, tmp_path / "out")
    assert (report.photos, report.masks, report.without_masks) == (8, 14, 1)


def test_a_folder_that_people_annotate_is_packed(pairs, tmp_path):
    """With the keys and the files that an annotator adds; its proposals are no pairs."""
    described = json.loads((pairs / "sa_7.json").read_text())
    described["annotations"][0] |= {"uuid": "u", "source": "clicks", "annotator": "a", "seconds": 14.0, "revision": 2}
    folder_of(
        pairs,
        {
            "sa_7.json": json.dumps(described).encode(),
            "annotate.json": b"{}",
            "annotate/proposals/7.json": b"{}",
            "annotate/events.jsonl": b"",
            ".lock": b"",
        },
    )
    report = pack(pairs, tmp_path / "out")
    assert (report.photos, report.masks, report.dropped, report.ignored_files) == (7, 14, 0, 4)
    assert json.loads(content(tmp_path / "out")["sa_7.json"]) == described


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (None, "is not a folder"),
        ({"a.txt": b"x"}, "holds no pair sa_<id>.jpg and sa_<id>.json"),
        ({**good(1), "deep/sa_000000.tar": b"x"}, "holds sa_000000.tar: it is packed already"),
        ({"sa_1.jpg": b"x", "sa_1.json": b"x"}, "holds no pair that can be used, the first is in: sa_1: not JSON"),
    ],
)
def test_what_cannot_be_packed_is_one_sentence(tmp_path, capsys, files, sentence):
    if files is not None:
        folder_of(tmp_path / "in", files)
    assert main(["data", "pack", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--workers", "1"]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1


def test_out_is_no_folder_of_others_and_none_of_the_pairs(pairs, tmp_path):
    folder_of(tmp_path / "out", {"mine.txt": b"x"})
    with pytest.raises(UserError, match="exists already: give a new folder"):
        pack(pairs, tmp_path / "out")
    with pytest.raises(UserError, match=r"is in .*: give another folder"):
        pack(pairs, pairs / "tars")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.write_bytes(path.read_bytes().replace(b"\xff\xda", b"\xff\xdb", 1)), "SHA-256 is not"),
        (lambda path: path.write_bytes(path.read_bytes()[:-10_240]), "bytes but the report says"),
        (lambda path: path.unlink(), "sa_000001.tar is missing"),
        (lambda path: shutil.copy(path, path.with_name("sa_000009.tar")), "sa_000009.tar is not in pack_report.json"),
    ],
)
def test_verify_finds_what_has_happened_to_tars(pairs, tmp_path, capsys, damage, sentence):
    pack(pairs, tmp_path / "out", photos_per_tar=3)
    assert main(["data", "verify", str(tmp_path / "out")]) == 0
    assert "7 photos decoded" in capsys.readouterr().out
    damage(tmp_path / "out" / "sa_000001.tar")
    assert main(["data", "verify", str(tmp_path / "out")]) == 2
    assert sentence in capsys.readouterr().out


def test_a_report_that_does_not_add_up_is_found(pairs, tmp_path, capsys):
    pack(pairs, tmp_path / "out", photos_per_tar=3)
    text = (tmp_path / "out" / REPORT).read_text()
    (tmp_path / "out" / REPORT).write_text(text.replace('"photos": 7', '"photos": 8'))
    assert main(["data", "verify", str(tmp_path / "out")]) == 2
    assert "says 8 photos in all but its tars add up to 7" in capsys.readouterr().out


def test_tars_are_written_to_a_bucket(pairs, tmp_path):
    report = pack(pairs, "memory://packed", photos_per_tar=3)
    files = fsspec.filesystem("memory")
    try:
        assert sorted(Path(name).name for name in files.ls("/packed", detail=False)) == [
            REPORT,
            *(tar.file for tar in report.tars),
        ]
        local = pack(pairs, tmp_path / "out", photos_per_tar=3)
        assert local == report
    finally:
        files.rm("/packed", recursive=True)
