"""Photos to annotate: each has an id that lasts, and the JPEG that is stored shows what a viewer shows."""

import io
import json
import tarfile

import fsspec
import numpy as np
import pytest
from helpers.annotators import agree, make_photos, open_folder, some_mask
from PIL import ExifTags, Image

from data_pipelines import photos as records
from samjax.annotate.annotation_folder import open_annotations
from samjax.annotate.photo_list import open_photos
from samjax.annotate.refusals import UnknownPhotoError
from samjax.core.errors import UserError
from samjax.data.photo import read_photo


@pytest.fixture
def pictures(tmp_path):
    """A JPEG, one that EXIF turns, a PNG, one called as SA-1B's are, and two that cannot be read."""
    folder = tmp_path / "photos"
    folder.mkdir()
    draw = np.random.default_rng(0)
    greys = [draw.integers(0, 256, (40 + 8 * k, 60, 1), dtype=np.uint8) for k in range(4)]
    pixels = [np.repeat(grey, 3, axis=-1) for grey in greys]
    Image.fromarray(pixels[0]).save(folder / "beach.jpg")
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    Image.fromarray(pixels[1]).save(folder / "turned.jpg", exif=turned)
    Image.fromarray(pixels[2]).save(folder / "drawing.png")
    Image.fromarray(pixels[3]).save(folder / "sa_77.jpg")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no photo")
    (folder / "notes.txt").write_text("no photo")
    return folder


def test_photos_are_listed_upright_in_the_order_of_their_paths(pictures, tmp_path):
    photos = open_photos([str(pictures / "*")], tmp_path / "out")
    listed = list(photos.values())
    assert [photo.path.name for photo in listed] == ["beach.jpg", "drawing.png", "sa_77.jpg", "turned.jpg"]
    assert [photo.id for photo in listed] == list(photos)
    assert photos[77].path.name == "sa_77.jpg"
    assert len(photos.unreadable) == 2
    assert "broken.jpg" in photos.unreadable[0]
    for photo in listed:
        shown = read_photo(photo.path)
        assert shown.shape == (photo.height, photo.width, 3)
        content = photos.jpeg(photo.id)
        with Image.open(io.BytesIO(content)) as stored:
            assert stored.format == "JPEG"
            assert stored.getexif().get(ExifTags.Base.Orientation, 1) == 1
            assert np.abs(np.asarray(stored.convert("RGB")).astype(int) - shown).mean() < 5
        if photo.path.name in ("beach.jpg", "sa_77.jpg"):
            assert content == photo.path.read_bytes()
        assert photos.jpeg(photo.id) is content


@pytest.fixture
def bucket():
    files = fsspec.filesystem("memory")
    yield files
    files.rm("/photos", recursive=True)


def tar_of(folder, path):
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, f"deep/{file.name}")
    return path


def test_photos_in_a_tar_are_those_of_its_files(pictures, tmp_path):
    """Upright, by the same ids, and read from the tar when they are needed."""
    files = open_photos([str(pictures / "*")], tmp_path / "out")
    tar = tar_of(pictures, tmp_path / "photos.tar")
    photos = open_photos([str(tmp_path / "*.tar")], tmp_path / "out")
    assert [photo.source for photo in photos.values()] == [f"{tar}/deep/{one.path.name}" for one in files.values()]
    for photo, file in zip(photos.values(), files.values(), strict=True):
        assert (photo.id, photo.width, photo.height, photo.path.name) == (
            file.id, file.width, file.height, file.path.name,
        )  # fmt: skip
        assert photos.jpeg(photo.id) == files.jpeg(file.id)
    assert len(photos.unreadable) == 1
    assert "photos.tar/deep/broken.jpg" in photos.unreadable[0]
    both = open_photos([str(tar), str(pictures / "*.jpg")], tmp_path / "out")
    assert len({photo.id for photo in both.values()}) == len(both) == 7


def test_photos_of_tars_records_and_buckets_are_annotated_and_opened_again(pictures, tmp_path, bucket):
    (pictures / "broken.jpg").unlink()
    (pictures / "notes.txt").unlink()
    records.prepare(str(pictures), tmp_path / "records")
    bucket.pipe_file("/photos/beach.jpg", (pictures / "beach.jpg").read_bytes())
    sources = [tar_of(pictures, tmp_path / "photos.tar"), tmp_path / "records", "memory://photos/*.jpg"]
    sources = [str(source) for source in sources]
    with open_annotations(tmp_path / "out", open_photos(sources, tmp_path / "out"), {}) as folder:
        assert len(folder.photos) == 9
        for id in folder.photos:
            folder.finish(id, annotator="ann")
    described = [json.loads(path.read_text())["image"] for path in (tmp_path / "out").glob("sa_*.json")]
    assert {one["source"] for one in described if "/records/" not in one["source"]} == {
        "memory:///photos/beach.jpg",
        *(f"{tmp_path}/photos.tar/deep/{path.name}" for path in pictures.iterdir()),
    }
    before = json.loads((tmp_path / "out" / "annotate.json").read_text())["photos"]
    with open_annotations(tmp_path / "out", open_photos(sources, tmp_path / "out"), {}) as folder:
        assert {photo.key: photo.id for photo in folder.photos.values()} == before
        assert agree(folder)


def test_a_tar_that_changes_while_it_is_open_is_told_of(pictures, tmp_path):
    tar = tar_of(pictures, tmp_path / "photos.tar")
    photos = open_photos([str(tar)], tmp_path / "out")
    Image.new("RGB", (60, 40)).save(pictures / "beach.jpg")
    tar_of(pictures, tar)
    with pytest.raises(UserError, match=r"photos.tar/deep/\S+.(jpg|png)"):
        [photos.jpeg(id) for id in photos]
    tar.unlink()
    with pytest.raises(UserError, match=r"photos.tar/deep/sa_77.jpg cannot be read"):
        photos.jpeg(77)


def test_files_that_no_pattern_matches_are_known(pictures, tmp_path):
    photos = open_photos([str(pictures / "*.png")], tmp_path / "out")
    assert len(photos.beside) == 5


def test_ids_last_when_photos_come_and_go(tmp_path):
    with open_folder(tmp_path, 2) as folder:
        before = {photo.path.name: photo.id for photo in folder.photos.values()}
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "a.jpg")
    (tmp_path / "photos" / "1.jpg").rename(tmp_path / "gone.jpg")
    with open_folder(tmp_path) as folder:
        after = {photo.path.name: photo.id for photo in folder.photos.values()}
    assert after["0.jpg"] == before["0.jpg"]
    assert after["a.jpg"] not in before.values()
    (tmp_path / "gone.jpg").rename(tmp_path / "photos" / "1.jpg")
    with open_folder(tmp_path) as folder:
        assert {photo.path.name: photo.id for photo in folder.photos.values()} == before | after


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("nothing/*.jpg", "matches nothing"),
        ("out/*.jpg", "is in --out"),
        ("photos/*.txt", "none of 2 photos can be read: .*a.txt.*; .*b.txt"),
        ("photos", "matches a folder"),
        ("cut.tar", "cut.tar .*: fetch it again, or exclude it"),
        ("empty.tar", "empty.tar holds no usable photo"),
    ],
)
def test_what_is_no_photo_is_one_sentence(tmp_path, pattern, sentence):
    make_photos(tmp_path / "photos")
    for name in ("photos/a.txt", "photos/b.txt", "out/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no photo")
    (tmp_path / "out" / "annotate.json").write_text(json.dumps({"version": 1, "settings": {}, "photos": {}}))
    whole = tar_of(tmp_path / "photos", tmp_path / "cut.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:700])
    tarfile.open(tmp_path / "empty.tar", "w").close()
    with pytest.raises(UserError, match=sentence):
        open_photos([str(tmp_path / pattern)], tmp_path / "out")


@pytest.mark.parametrize("id", ["1", 1.0, True, None, -1, 10**12])
def test_ids_that_are_no_photos_are_refused(tmp_path, id):
    photos = open_photos([make_photos(tmp_path / "photos")], tmp_path / "out")
    assert id not in photos
    with pytest.raises(UnknownPhotoError, match=r"give an integer|there is no photo"):
        photos[id]


def test_a_photo_that_has_changed_since_it_was_listed_is_told_of(tmp_path):
    photos = open_photos([make_photos(tmp_path / "photos")], tmp_path / "out")
    Image.new("RGB", (9, 9)).save(photos[0].path)
    with pytest.raises(UserError, match="is 9 x 9 now and was 32 x 24"):
        photos.jpeg(0)
    photos[1].path.write_bytes(photos[1].path.read_bytes()[:300])
    with pytest.raises(UserError, match=r"1\.jpg cannot be read"):
        photos.jpeg(1)
    photos[2].path.unlink()
    with pytest.raises(UserError, match=r"2\.jpg cannot be read"):
        photos.jpeg(2)


def test_masks_of_a_photo_whose_size_has_changed_are_kept_from_it(tmp_path):
    with open_folder(tmp_path) as folder:
        folder.commit(0, some_mask())
    Image.new("RGB", (9, 9)).save(tmp_path / "photos" / "0.jpg")
    with open_folder(tmp_path) as folder, pytest.raises(UserError, match=r"sa_0.json are of 32 x 24: restore"):
        folder.masks(0)
