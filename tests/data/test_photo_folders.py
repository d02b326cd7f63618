"""Which files of a folder are data, whatever they are called and wherever they lie."""

import errno
import io
import os

import pytest
from shards import good, record, write_tar

from data_pipelines import photo_folders, units
from data_pipelines.sa1b import LocalRun, prepare
from data_pipelines.verify import verify
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.data.records.masks import decode_record
from samjax.data.stream.sources import open_source

SERIAL = LocalRun(workers=1)


def ids(folder):
    source = open_source(str(folder), "train")
    return [decode_record(source[index]).image_id for index in range(len(source))]


def write_files(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("as_tar", [True, False])
def test_photos_without_a_json_stop_no_small_set_and_are_told(tmp_path, caplog, as_tar):
    """They are photos without annotations, not broken pairs; broken ones are judged by what is left."""
    files = {**good(100), **{f"sa_{number}.jpg": record(number).jpeg for number in range(201, 231)}}
    source = tmp_path / "in"
    if as_tar:
        write_tar(source / "x.tar", files)
    else:
        write_files(source, files)
    report = prepare(str(source), tmp_path / "out", run=SERIAL)
    assert (report.records, report.reasons) == (100, {"no JSON": 30})
    assert "30 photos have no JSON, so no annotations, and were left out" in caplog.text
    assert "sa_201: every photo needs" in report.text()


def test_jsons_one_folder_deeper_are_matched_with_their_photos(tmp_path):
    files = good(50)
    write_files(tmp_path / "in/photos", {name: file for name, file in files.items() if name != "sa_7.json"})
    write_files(tmp_path / "in/photos/deeper", {"sa_7.json": files["sa_7.json"]})
    report = prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)
    assert (report.records, report.dropped) == (50, 0)
    assert [shard.records for shard in report.shards] == [50]


def test_folders_that_are_links_are_read_once(tmp_path):
    """A link that leads back up ends there; what lies outside is read through its link."""
    write_files(tmp_path / "elsewhere/one", good(2))
    write_tar(tmp_path / "elsewhere/a.tar", good(2, 11))
    write_files(tmp_path / "in/here", good(2, 21))
    (tmp_path / "in/link").symlink_to(tmp_path / "elsewhere/one")
    (tmp_path / "in/a.tar").symlink_to(tmp_path / "elsewhere/a.tar")
    (tmp_path / "in/here/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/here/same").symlink_to(tmp_path / "elsewhere/one")
    (tmp_path / "in/nowhere").symlink_to(tmp_path / "gone")
    report = prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)
    assert sorted(ids(tmp_path / "out")) == [1, 2, 11, 12, 21, 22]
    assert (report.dropped, report.ignored_members) == (0, 1)


def test_photos_that_are_links_are_read(tmp_path):
    """As caches of downloads and sets chosen from others have them."""
    write_files(tmp_path / "blobs", good(3))
    (tmp_path / "in").mkdir()
    for name in good(3):
        (tmp_path / "in" / name).symlink_to(tmp_path / "blobs" / name)
    prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)
    assert ids(tmp_path / "out") == [1, 2, 3]


@pytest.mark.parametrize("source", ["in", "in/*.tar"])
def test_hidden_files_are_no_data(tmp_path, source):
    """macOS leaves ._NAME beside files on foreign disks."""
    write_tar(tmp_path / "in/sa_000000.tar", good(3))
    write_files(tmp_path / "in", {"._sa_000000.tar": b"\0\5\x16\7", ".DS_Store": b"x", ".trash/sa_9.jpg": b"x"})
    report = prepare(str(tmp_path / source), tmp_path / "out", run=SERIAL)
    assert (report.records, report.dropped) == (3, 0)
    assert report.ignored_members == (2 if source == "in" else 0)


def test_folders_too_deep_are_told(tmp_path, caplog):
    write_files(tmp_path / "in/1/2/3", good(2))
    write_files(tmp_path / "in/1/2/3/4", good(2, 11))
    report = prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)
    assert report.records == 2
    assert "in/1/2/3/4 is more than 3 folders down, and is not read: name it as a --source" in caplog.text


def test_names_that_are_not_utf8_are_read_and_written(tmp_path, capsys):
    """File systems take any bytes for a name; the report shows them as an escape."""
    odd = os.fsdecode(b"gr\xfcn")
    write_tar(tmp_path / odd / "in" / f"{odd}.tar", {**good(3), "sa_9.jpg": b"x"})
    write_files(tmp_path / odd / "in" / odd, good(3, 11))
    out = tmp_path / odd / "out"
    for _ in range(2):
        assert (
            main(["data", "prepare", "--source", str(tmp_path / odd / "in"), "--out", str(out), "--workers", "1"]) == 0
        )
    assert ids(out) == [11, 12, 13, 1, 2, 3]
    assert "gr\\udcfcn.tar: sa_9" in capsys.readouterr().out
    assert verify(str(out)).problems == ()


@pytest.mark.parametrize("kind", ["photo", "tar"])
def test_a_disk_that_fails_is_not_a_photos_fault(tmp_path, monkeypatch, kind):
    if kind == "tar":
        write_tar(tmp_path / "in/x.tar", good(3))
    else:
        write_files(tmp_path / "in/x", good(3))

    class Failing(io.BytesIO):
        def read(self, *_):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    for module in (units, photo_folders):
        monkeypatch.setattr(module, "open_bytes", lambda files, path: Failing())
    with pytest.raises(UserError, match=r"1 of 1 could not be read: .*\(Input/output error: check the disk"):
        prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)
