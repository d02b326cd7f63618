"""Tars and folders that are broken, hostile or out of reach, and disks that take no more."""

import errno
import fcntl
import io
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import fsspec
import pytest
from helpers.unpacked_tars import unpack
from shards import good, members, record, write_tar

from data_pipelines import tar_reader, units
from data_pipelines.pairs import Drop, Pair, SourceError, Stray
from data_pipelines.sa1b import LocalRun, prepare
from data_pipelines.shards import cannot_write
from data_pipelines.tar_reader import read_tar
from data_pipelines.units import find_units
from data_pipelines.verify import verify
from samjax.core import files
from samjax.core.errors import UserError
from samjax.data.records.masks import decode_record
from samjax.data.stream.sources import open_source

ROOT = Path(__file__).parent.parent.parent
SERIAL = LocalRun(workers=1)


def read(path, name="x.tar"):
    with open(path, "rb") as file:
        return list(read_tar(file, name=name))


def ids(folder):
    source = open_source(str(folder), "train")
    return [decode_record(source[index]).image_id for index in range(len(source))]


def everything(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("held", [0, 3_000, 2**30])
def test_the_order_of_members_and_the_memory_for_them_change_nothing(tmp_path, monkeypatch, held):
    """All photos first, all JSONs last: what does not fit in memory meanwhile is read again."""
    files = good(6)
    apart = {name: files[name] for name in sorted(files, key=lambda name: (name[-4:] == "json", name))}
    monkeypatch.setattr(tar_reader, "HELD_BYTES", held)
    pairs = read(write_tar(tmp_path / "x.tar", apart))
    assert [(pair.where, pair.jpeg, pair.text) for pair in pairs] == [
        (f"x.tar: sa_{number}", files[f"sa_{number}.jpg"], files[f"sa_{number}.json"]) for number in range(1, 7)
    ]


def test_hostile_members_are_counted_and_touch_nothing(tmp_path):
    tar = write_tar(
        tmp_path / "in/sa_000000.tar",
        {**good(2), "../sa_7.jpg": b"x", "/tmp/sa_8.jpg": b"x", "a/../sa_9.jpg": b"x", "..": b"x", "sa_1.jpg/": b""},
    )
    kinds = {
        "sa_10.jpg": tarfile.SYMTYPE,
        "sa_11.jpg": tarfile.LNKTYPE,
        "sa_12.jpg": tarfile.FIFOTYPE,
        "sa_13.jpg": tarfile.CHRTYPE,
        "sa_14.jpg": tarfile.BLKTYPE,
        "sa_15.jpg": tarfile.CONTTYPE,
    }
    with tarfile.open(tar, "a") as archive:
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/hostname"
            archive.addfile(member)
    before = everything(tmp_path / "in")
    report = prepare(str(tar), tmp_path / "out", run=SERIAL)
    assert (report.records, report.reasons) == (2, {"no JSON": 1})  # CONTTYPE is a plain file, so it lacks its partner
    assert report.ignored_members == 10
    assert everything(tmp_path / "in") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def with_size(path, index, size):
    """Claim another size in a member's header."""
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as archive:
        at = archive.getmembers()[index].offset
    member = tarfile.TarInfo.frombuf(bytes(data[at : at + 512]), "utf-8", "strict")
    member.size = size
    data[at : at + 512] = member.tobuf(tarfile.GNU_FORMAT)[:512]
    path.write_bytes(data)


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.XGLTYPE])
def test_a_header_that_claims_a_terabyte_takes_no_memory(tmp_path, kind):
    """tarfile reads an extended header whole, however long it says it is."""
    path = tmp_path / "x.tar"
    member = tarfile.TarInfo("sa_1.jpg")
    member.type, member.size = kind, 2**40
    path.write_bytes(member.tobuf(tarfile.GNU_FORMAT) + b"12 path=abcd\n" + bytes(2000))
    with pytest.raises(SourceError, match=r"asks for|cut short|unexpected end of data"):
        read(path)


def test_a_member_above_the_limit_is_dropped_unread(tmp_path):
    """A sparse file: 10 GB by its name, nothing on the disk."""
    path = write_tar(tmp_path / "x.tar", good(1))
    with open(path, "r+b") as file, tarfile.open(path) as archive:
        archive.getmembers()
        end = archive.offset
        file.truncate(end)
        member = tarfile.TarInfo("sa_9.jpg")
        member.size = 10 * 2**30
        file.seek(end)
        file.write(member.tobuf(tarfile.GNU_FORMAT))
        file.seek(end + 512 + member.size)
        text = tarfile.TarInfo("sa_9.json")
        file.write(text.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    first, second = read(path)
    assert isinstance(first, Pair)
    assert isinstance(second, Drop)
    assert (second.kind, second.detail) == ("too large", "its jpg has 10,737,418,240 bytes, more than 67,108,864")


def test_tars_strung_together_are_refused(tmp_path):
    """tarfile stops at the first one's end and would leave the rest out without a word."""
    one, two = write_tar(tmp_path / "1.tar", good(2)), write_tar(tmp_path / "2.tar", good(2, 11))
    one.write_bytes(one.read_bytes() + two.read_bytes())
    with pytest.raises(SourceError, match="more follows its end"):
        read(one)


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_a_compressed_tar_is_refused(tmp_path, suffix):
    path = tmp_path / "x.tar"
    with tarfile.open(path, f"w:{suffix}") as archive:
        archive.addfile(tarfile.TarInfo("sa_1.jpg"), io.BytesIO())
    with pytest.raises(SourceError, match="uncompressed tar"):
        read(path)


def test_every_cut_of_a_tar_is_seen(tmp_path):
    whole = write_tar(tmp_path / "x.tar", good(2))
    with tarfile.open(whole) as archive:
        archive.getmembers()
        end = archive.offset
    content = whole.read_bytes()
    for length in range(0, end + 1, 97):
        whole.write_bytes(content[:length])
        with pytest.raises(SourceError):
            read(whole)


@pytest.fixture
def extracted(tmp_path):
    """A folder of pairs with everything in it that is none."""
    folder = tmp_path / "in/photos"
    folder.mkdir(parents=True)
    files = {**good(150), "notes.txt": b"x", "sa_x.jpg": b"x", "sa_901.jpg": b"x"}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (tmp_path / "secret").write_bytes(record(902).jpeg)
    (folder / "sa_902.jpg").symlink_to(tmp_path / "secret")
    os.mkfifo(folder / "sa_903.jpg")
    (folder / "sa_904.jpg").mkdir()
    return folder


@pytest.mark.parametrize("level", ["", ".."])
def test_a_folder_of_pairs(extracted, tmp_path, monkeypatch, level):
    """Pipes are not opened, which would hang; links to plain files are, as links to tars are."""
    monkeypatch.setattr(units, "PAIRS_A_SHARD", 40)
    report = prepare(str(extracted / level), tmp_path / "out", run=SERIAL)
    assert ids(tmp_path / "out") == list(range(1, 151))
    assert (report.reasons, report.ignored_members) == ({"no JSON": 2}, 3)
    assert report.examples[0].startswith("photos/: sa_901: every photo needs")
    assert [shard.records for shard in report.shards] == [40, 40, 40, 30]
    assert verify(str(tmp_path / "out")).problems == ()


def test_a_folder_and_its_tar_give_the_same_records(tmp_path):
    tar = write_tar(tmp_path / "x.tar", good(12))
    unpack(tar, tmp_path / "folder")
    for source, name in ((tar, "one"), (tmp_path / "folder", "two")):
        prepare(str(source), tmp_path / name, run=SERIAL)
    shards = [next((tmp_path / name).glob("*.array_record-*")).read_bytes() for name in ("one", "two")]
    assert shards[0] == shards[1]


def test_tars_beside_folders_are_all_found(tmp_path):
    write_tar(tmp_path / "in/b.tar", good(2))
    write_tar(tmp_path / "in/more/a.tar", good(2, 11))
    (tmp_path / "in/pairs").mkdir()
    for name, content in good(2, 21).items():
        (tmp_path / "in/pairs" / name).write_bytes(content)
    assert [unit.name for unit in find_units(str(tmp_path / "in"))] == ["b.tar", "a.tar", "pairs/"]
    assert [unit.name for unit in find_units(str(tmp_path / "in/*"))] == ["b.tar", "a.tar", "pairs/"]
    with pytest.raises(UserError, match="give the folder that holds them"):
        find_units(str(tmp_path / "in/pairs/*.jpg"))


def test_a_store_that_is_not_this_disk(tmp_path):
    """fsspec's memory stands for an object store: no rename, no folders, no local path."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    for number, first in enumerate((1, 5)):
        tar = write_tar(tmp_path / f"in/sa_00000{number}.tar", good(5, first))
        store.put_file(str(tar), f"/bucket/in/sa_00000{number}.tar")
    local = prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)
    stored = prepare("memory://bucket/in/*.tar", "memory://bucket/out", run=SERIAL)
    assert [shard.sha256 for shard in stored.shards] == [shard.sha256 for shard in local.shards]
    assert stored.reasons == {"duplicate": 1}
    names = sorted(path.rsplit("/", 1)[-1] for path in store.find("/bucket/out"))
    assert names == sorted(path.name for path in (tmp_path / "out").iterdir())
    for name in ("dataset_info.json", "features.json", stored.shards[1].file):
        assert store.cat_file(f"/bucket/out/{name}") == (tmp_path / "out" / name).read_bytes()
    assert prepare("memory://bucket/in/*.tar", "memory://bucket/out", run=SERIAL) == stored
    store.store.clear()


def test_what_a_scheme_needs_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere://x cannot be opened"):
        prepare("nowhere://x", tmp_path / "out")


UNPRIVILEGED = """
import ctypes, os, sys
if os.getuid() == 0:  # root ignores the modes of files until it gives up its capabilities, which is Linux's capset
    version_3, this_thread = 0x20080522, 0
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset((ctypes.c_uint32 * 2)(version_3, this_thread), (ctypes.c_uint32 * 6)()):
        sys.exit(f"capset: {os.strerror(ctypes.get_errno())}")
from data_pipelines.sa1b import LocalRun, prepare
from samjax.core.errors import UserError
source, out = sys.argv[1:]
try:
    prepare(source, out, run=LocalRun(workers=1))
except UserError as error:
    print(error)
"""


def run_unprivileged(source, out):
    """Prepare in a process for which the modes of files count, also when root runs the tests."""
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, str(source), str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_tar_that_may_not_be_read_leaves_the_others_done(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    write_tar(source / "sa_000000.tar", good(3))
    write_tar(source / "sa_000001.tar", good(3, 11)).chmod(0)
    said = run_unprivileged(source, out)
    assert "1 of 2 could not be read" in said
    assert "sa_000001.tar cannot be read (Permission denied)" in said
    (source / "sa_000001.tar").chmod(0o644)
    assert run_unprivileged(source, out) == ""
    assert ids(out) == [1, 2, 3, 11, 12, 13]


def test_a_photo_that_may_not_be_read_costs_its_record_alone(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for name, content in good(3).items():
        (source / name).write_bytes(content)
    (source / "sa_2.jpg").chmod(0)
    assert run_unprivileged(source, out) == ""
    assert ids(out) == [1, 3]
    assert '"unreadable": 1' in (out / "prepare_report.json").read_text()


def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    write_tar(tmp_path / "in/sa_000000.tar", good(3))
    (tmp_path / "out").mkdir(mode=0o555)
    said = run_unprivileged(tmp_path / "in", tmp_path / "out")
    assert "out cannot be written (Permission denied)" in said


def test_a_folder_where_a_tar_should_be(tmp_path):
    write_tar(tmp_path / "in/sa_000000.tar", good(3))
    (tmp_path / "in/sa_000001.tar").mkdir()
    with pytest.raises(UserError, match=r"sa_000001.tar cannot be read \(Is a directory\)"):
        prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)


def test_a_file_where_the_folder_should_be(tmp_path):
    write_tar(tmp_path / "in/sa_000000.tar", members(record(1)))
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="out cannot be written"):
        prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError("open() failed: Too many open files; opening out/x"), "raise that limit with `ulimit -n`"),
        (MemoryError(), "free memory, or use fewer workers"),
        (OSError(errno.EIO, os.strerror(errno.EIO)), "check the disk or the network"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "make room"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "make room or allow it"),
    ],
    ids=str,
)
def test_what_stops_the_writing_is_named_with_what_to_do(error, says):
    said = str(cannot_write("out", error))
    assert says in said
    assert "the same command again" in said
    assert ("make room" in said) == (says.startswith("make room"))


def test_a_file_system_without_locks_or_sync_is_written_to_and_told_of(tmp_path, monkeypatch, caplog):
    """As Lustre without flock, CIFS and shared folders of virtual machines are: there is room, and it is allowed."""
    caplog.set_level("INFO")
    sync = os.fsync

    def refuse_lock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def refuse_folders(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        sync(handle)

    monkeypatch.setattr(fcntl, "flock", refuse_lock)
    monkeypatch.setattr(os, "fsync", refuse_folders)
    monkeypatch.setattr(files, "_told", set())
    write_tar(tmp_path / "in/sa_000000.tar", good(3))
    prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)
    assert ids(tmp_path / "out") == [1, 2, 3]
    assert "out cannot be locked (Function not implemented)" in caplog.text
    assert caplog.text.count("cannot be synced (Invalid argument)") == 1


FULL = """
import resource, sys
from data_pipelines.sa1b import LocalRun, prepare
from samjax.core.errors import UserError
source, out, limit, workers = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
try:
    prepare(source, out, run=LocalRun(workers=int(workers)))
except UserError as error:
    print(error)
"""


@pytest.mark.parametrize(("limit", "workers"), [(300_000, 1), (300_000, 2), (500, 1)])
def test_a_disk_that_is_full_stops_it_and_keeps_what_is_done(tmp_path, limit, workers):
    """The system refuses the bytes above a limit, as a full disk does: ArrayRecord only says so when it is closed."""
    source, out = tmp_path / "in", tmp_path / "out"
    write_tar(source / "sa_000000.tar", good(20))
    write_tar(source / "sa_000001.tar", good(900, 1001))  # fails long after the other worker is done with the first
    write_tar(source / "sa_000002.tar", good(20, 3001))
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(source), str(out), str(limit), str(workers)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "out cannot be written (" in done.stdout
    assert "File too large" in done.stdout
    assert not list(out.rglob("*.temporary"))
    assert not (out / "dataset_info.json").exists()
    assert bool(list(out.glob(".prepare/*.json"))) == (limit > 1000)
    prepare(str(source), out, run=SERIAL)
    assert len(ids(out)) == 940
    assert verify(str(out)).problems == ()


def test_strays_of_a_tar_are_named_in_the_log(tmp_path):
    stray, _ = read(write_tar(tmp_path / "x.tar", {"README": b"x", **good(1)}))
    assert stray == Stray(where="x.tar: 'README'")
