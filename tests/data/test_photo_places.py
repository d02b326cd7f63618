"""Photos are found in files, tars, records and buckets, none is read before it is needed, and all are read alike."""

import shutil
import tarfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
from shards import good, jpeg, write_tar

from data_pipelines import photos as photo_records
from data_pipelines.photo_places import FilePlace, RecordPlace, StoredPlace, list_photos
from data_pipelines.sa1b import prepare
from samjax.core.errors import UserError
from samjax.data.photo import read_photo
from samjax.data.photo_ids import assign_ids

PHOTOS = {f"sa_{number}.jpg": jpeg(24, 32, seed=number) for number in (3, 4, 5)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for name, content in PHOTOS.items():
        (tmp_path / "in" / name).write_bytes(content)
    return tmp_path / "in"


@pytest.fixture
def bucket(folder):
    files = fsspec.filesystem("memory")
    for name, content in PHOTOS.items():
        files.pipe_file(f"/photos/{name}", content)
    files.pipe_file("/photos/deep/sa_9.jpg", b"another")
    write_tar(folder.parent / "x.tar", PHOTOS | {"sa_3.json": b"{}"})
    files.pipe_file("/tars/x.tar", (folder.parent / "x.tar").read_bytes())
    yield "memory://"
    files.rm("/photos", recursive=True)
    files.rm("/tars", recursive=True)


def places(*patterns, out="/nowhere/out"):
    return list_photos([str(pattern) for pattern in patterns], out=Path(out)).places


def test_a_photo_is_read_alike_wherever_it_lies(folder, bucket, tmp_path):
    """Bytes and pixels; a tar's other members are no photos, and its photos keep their numbers."""
    photo_records.prepare(str(folder), tmp_path / "records")
    kinds = {
        FilePlace: places(folder / "*.jpg"),
        "tar": places(write_tar(tmp_path / "y.tar", {"deep/sa_3.json": b"{}", **PHOTOS})),
        RecordPlace: places(tmp_path / "records"),
        StoredPlace: places(f"{bucket}photos/*.jpg"),
        "tar in a bucket": places(f"{bucket}tars/*.tar"),
    }
    for kind, found in kinds.items():
        assert len({place.key for place in found}) == len(found) == 3, kind
        loaded = [place.load() for place in found]
        assert [photo.content for photo in loaded] == list(PHOTOS.values()), kind
        for photo in loaded:
            np.testing.assert_array_equal(photo.pixels, read_photo(photo.content))
        if kind is not RecordPlace:
            ids = assign_ids({}, [place.key for place in found])
            assert sorted(ids.values()) == [3, 4, 5], kind
        else:
            assert [photo.source.rsplit("/", 1)[-1] for photo in loaded] == list(PHOTOS)


def test_listing_opens_no_photo(folder, tmp_path, monkeypatch):
    """A million of them would take hours, and memory."""
    tar = write_tar(tmp_path / "y.tar", PHOTOS)
    prepare(str(write_tar(tmp_path / "sa.tar", good(3))), tmp_path / "records")
    monkeypatch.setattr("samjax.data.photo._opened", lambda *_, **__: pytest.fail("a photo was opened"))
    monkeypatch.setattr("samjax.data.stream.readers.Shards.read", lambda *_: pytest.fail("a record was read"))
    read = []
    extract = tarfile.TarFile.extractfile
    monkeypatch.setattr(
        tarfile.TarFile, "extractfile", lambda self, member: read.append(member) or extract(self, member)
    )
    assert len(places(folder / "*.jpg", tar, tmp_path / "records")) == 9
    assert len(read) == 1  # the last of the tar, whose end is looked at


def test_records_with_masks_give_their_photos_of_all_splits(prepared):
    found = places(prepared / "val")
    assert len(found) == 53
    assert found[0].load().pixels.ndim == 3
    assert len({place.key.rsplit("/", 1)[-1] for place in found}) == 53, "equal names would be given ids one by one"


def test_a_photo_named_twice_is_listed_once_and_order_does_not_matter(folder, tmp_path):
    tar = write_tar(tmp_path / "y.tar", PHOTOS)
    found = places(folder / "*.jpg", tar, folder / "sa_3.jpg")
    assert [place.key for place in found] == sorted(place.key for place in found)
    assert len(found) == 6
    assert [place.key for place in places(tar, folder / "*.jpg")] == [place.key for place in found]


def test_what_is_beside_the_patterns_is_told(folder):
    (folder / "sa_6.JPG").touch()
    listing = list_photos([f"{folder}/*.jpg"], out=Path("/nowhere"))
    assert listing.beside == [folder / "sa_6.JPG"]
    assert list_photos([f"{folder}/sa_3.jpg"], out=Path("/nowhere")).beside == []


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("none/*.jpg", "matches nothing"),
        ("in", "matches a folder"),
        ("memory://none/*.jpg", "matches nothing"),
        ("memory://photos", "matches a folder"),
        ("nosuch://a/*.jpg", "cannot be opened"),
        ("empty.tar", "holds no usable photo: it is an empty tar"),
        ("texts.tar", "none of its 1 members is a photo"),
        ("cut.tar", "cannot be read as an uncompressed tar"),
    ],
)
def test_a_pattern_without_photos_is_one_sentence(folder, bucket, tmp_path, pattern, sentence):
    write_tar(tmp_path / "empty.tar", {})
    write_tar(tmp_path / "texts.tar", {"a.txt": b"x"})
    content = write_tar(tmp_path / "whole.tar", PHOTOS).read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: len(content) // 2 // 512 * 512])
    with pytest.raises(UserError) as raised:
        places(pattern if "://" in pattern else tmp_path / pattern)
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_gone_damaged_or_too_large_is_that_photos_error(folder, bucket, tmp_path, monkeypatch):
    found = places(folder / "*.jpg", f"{bucket}photos/*.jpg", tar := write_tar(tmp_path / "y.tar", PHOTOS))
    (folder / "sa_4.jpg").unlink()
    fsspec.filesystem("memory").pipe_file("/photos/sa_4.jpg", b"short")
    tar.write_bytes(tar.read_bytes()[:600])
    errors = {}
    for place in found:
        try:
            place.load()
        except UserError as error:
            errors[place.key] = str(error)
    assert len(errors) == 5
    assert "no such file" in errors[f"{folder}/sa_4.jpg"]
    assert "has changed since it was listed" in errors["memory:///photos/sa_4.jpg"]
    assert f"{tar} has changed" in errors[f"{tar}/sa_5.jpg"]
    monkeypatch.setattr("data_pipelines.photo_places.MAX_PHOTO_BYTES", 100)
    with pytest.raises(UserError, match="bytes, more than 100"):
        places(f"{bucket}photos/sa_3.jpg")[0].load()


def test_what_comes_twice_in_a_tar_is_counted(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for _ in range(2):
            archive.add(__file__, arcname="a.jpg")
    listing = list_photos([str(tmp_path / "x.tar")], out=Path("/nowhere"))
    assert len(listing.places) == 1
    assert listing.unusable == ["x.tar: a.jpg: it is in the tar twice"]


def test_a_damaged_folder_of_records_is_refused(prepared, tmp_path):
    shutil.copytree(prepared / "val", tmp_path / "records")
    next((tmp_path / "records").glob("*array_record*")).unlink()
    with pytest.raises(UserError, match="missing or damaged"):
        places(tmp_path / "records")
