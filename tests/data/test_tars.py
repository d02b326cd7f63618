"""Where a tar ends, what of it is data, and which files make a pair."""

import tarfile

import pytest
from shards import good, members, record, write_tar

from data_pipelines.pairs import Pair, SourceError, Stray
from data_pipelines.sa1b import LocalRun, prepare
from data_pipelines.tar_reader import read_tar
from samjax.core.errors import UserError

SERIAL = LocalRun(workers=1)


def read(path, name="x.tar"):
    with open(path, "rb") as file:
        return list(read_tar(file, name=name))


def padded(path, size):
    """Let the tar end in zeros, up to a multiple of `size` bytes, the mark of its end among them."""
    with tarfile.open(path) as archive:
        archive.getmembers()
        end = archive.offset
    mark = min(size, 1024)
    path.write_bytes(path.read_bytes()[:end] + bytes(mark + -(end + mark) % size))
    return path


@pytest.mark.parametrize("size", [512, 1024, 10_240, 2**16, 2**20], ids=str)
def test_every_end_that_tars_are_written_with_is_one(tmp_path, size):
    """One block, the two of the standard, and the rest of a record, `tar --blocking-factor 2048` included."""
    assert len(read(padded(write_tar(tmp_path / "x.tar", good(3)), size))) == 3


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.93])
@pytest.mark.parametrize("at_a_member", [True, False])
def test_a_download_that_stopped_within_room_allocated_in_advance_is_cut_short(tmp_path, share, at_a_member):
    """What is missing is zeros, and so is the end of a tar: below a thousand records nothing else would tell."""
    path = write_tar(tmp_path / "in/sa_000001.tar", good(60, 101))
    write_tar(tmp_path / "in/sa_000000.tar", good(20))
    content = path.read_bytes()
    at = int(share * len(content))
    if at_a_member:
        with tarfile.open(path) as archive:
            at = max(member.offset for member in archive.getmembers() if member.offset <= at)
    path.write_bytes(content[:at] + bytes(len(content) - at))
    with pytest.raises(
        UserError, match=r"1 of 2 could not be read: .*sa_000001.tar .*(cut short|bad checksum|damaged)"
    ):
        prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)
    assert not (tmp_path / "out/dataset_info.json").exists()


def test_no_cut_within_a_photo_or_a_json_is_taken_for_the_end(tmp_path):
    """However few bytes are missing before the end."""
    path = write_tar(tmp_path / "x.tar", good(2))
    content = path.read_bytes()
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    for member in members[1:]:
        for at in range(member.offset_data + 1, member.offset_data + member.size, 150):
            path.write_bytes(content[:at] + bytes(len(content) - at))
            with pytest.raises(SourceError, match="cut short at byte"):
                read(path)


def test_a_hole_in_a_tar_is_seen(tmp_path):
    path = write_tar(tmp_path / "x.tar", good(9))
    content = bytearray(path.read_bytes())
    content[10_000:30_000] = bytes(20_000)
    path.write_bytes(content)
    with pytest.raises(SourceError, match="a part that was never downloaded"):
        read(path)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "sa_000000.tar holds no usable photo: it is an empty tar"),
        ({"README": b"x", "a/photo.jpg": b"x"}, "none of its 2 members is a sa_<id>.jpg .* the first is 'README'"),
    ],
)
def test_a_tar_without_photos_is_named_beside_good_ones(tmp_path, files, says):
    write_tar(tmp_path / "in/sa_000000.tar", files)
    write_tar(tmp_path / "in/sa_000001.tar", good(3))
    with pytest.raises(UserError, match=says):
        prepare(str(tmp_path / "in"), tmp_path / "out", run=SERIAL)


@pytest.mark.parametrize(
    "folder",
    [
        "./",
        "sa-1b.v1/",
        "SA 1B (copy)/",
        "a/b/c/d/",
        "photos_\u00e4/",
        "+@,;=/",
        "x//y/",
        "./a/./b/",
        "windows\\",
        "\udcff/",
    ],
    ids=ascii,
)
def test_members_may_lie_in_any_folder(tmp_path, folder):
    tar = write_tar(tmp_path / "x.tar", {folder + name: content for name, content in good(2).items()})
    pairs = read(tar)
    assert [type(pair) for pair in pairs] == [Pair, Pair]
    assert [pair.where.rsplit("sa_")[-1] for pair in pairs] == ["1", "2"]
    assert all(pair.where.isprintable() for pair in pairs)


@pytest.mark.parametrize(
    "folder", ["/", "../", "a/../", "/abs/", "..\\", "C:/", "C:\\x\\", ".hidden/", "a/.snapshot/"], ids=ascii
)
def test_members_outside_and_hidden_ones_are_strays(tmp_path, folder):
    files = {**good(1, 9), **{folder + name: content for name, content in good(1).items()}}
    found = read(write_tar(tmp_path / "x.tar", files))
    assert [type(item) for item in found] == [Pair, Stray, Stray]


def test_photos_and_jsons_in_two_folders_of_a_tar_are_matched(tmp_path):
    files = {f"{'images' if name.endswith('jpg') else 'images/json'}/{name}": file for name, file in good(3).items()}
    pairs = read(write_tar(tmp_path / "x.tar", files))
    assert [(pair.where, pair.text) for pair in pairs] == [
        (f"x.tar: images/sa_{number}", good(3)[f"sa_{number}.json"]) for number in (1, 2, 3)
    ]


def test_a_json_beside_goes_before_one_elsewhere_and_two_elsewhere_are_none(tmp_path):
    """A number alone does not make a pair where it is there twice."""
    one, other = good(1), members(record(1), {"other": True})
    files = {
        "a/sa_1.jpg": one["sa_1.jpg"],
        "b/sa_1.json": other["sa_1.json"],
        "a/sa_1.json": one["sa_1.json"],
        "c/sa_2.jpg": b"x",
        "d/sa_2.json": b"x",
        "e/sa_2.json": b"x",
    }
    found = read(write_tar(tmp_path / "x.tar", files))
    assert [(item.where, getattr(item, "kind", "")) for item in found] == [
        ("x.tar: a/sa_1", ""),
        ("x.tar: b/sa_1", "no JPEG"),
        ("x.tar: c/sa_2", "no JSON"),
        ("x.tar: d/sa_2", "no JPEG"),
        ("x.tar: e/sa_2", "no JPEG"),
    ]
    assert found[0].text == one["sa_1.json"]
