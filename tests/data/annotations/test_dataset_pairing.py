"""A photo is of one image, map or folder alone: its own path goes first, a name counts where nobody else has it."""

import io
import os

import numpy as np
import pytest
from dataset_files import (
    coco_content,
    label_map,
    panoptic_rgb,
    random_masks,
    write_json,
    write_photo,
    write_png,
)
from PIL import Image

from samjax.core.errors import UserError
from samjax.data.annotations import images as stores
from samjax.data.annotations.coco_json import read_coco
from samjax.data.annotations.formats import FormatOptions
from samjax.data.annotations.images import ImageFolder, ImageRecords
from samjax.data.annotations.instance_pngs import open_instance_pngs
from samjax.data.annotations.label_maps import open_label_maps
from samjax.data.annotations.listing import files_under
from samjax.data.annotations.panoptic import open_panoptic
from samjax.data.records.masks import Record, encode_record


def of_json(folder, *names, images=None, allow_missing=False):
    """Photos of a JSON whose images have these names, with as many objects as their place says."""
    said = coco_content({f"{place}": random_masks(place) for place, _ in enumerate(names, 1)})
    for image, name in zip(said["images"], names, strict=True):
        image["file_name"] = name
    images = images or ImageFolder(folder / "photos")
    path = write_json(folder / "x.json", said)
    return read_coco(path, images=images, name="x", allow_missing=allow_missing).dataset


def of_maps(folder, *, allow_missing=False):
    images = ImageFolder(folder / "photos")
    opened = open_label_maps(folder / "maps", images=images, name="x", options=FormatOptions())
    return opened.read(allow_missing=allow_missing).dataset


def of_folders(folder, *, allow_missing=False):
    images = ImageFolder(folder / "photos")
    opened = open_instance_pngs(folder / "masks", images=images, name="x", options=FormatOptions())
    return opened.read(allow_missing=allow_missing).dataset


def test_a_photo_of_another_folder_is_not_taken(tmp_path):
    expected = write_photo(tmp_path / "photos/vidA/0001.jpg")
    names = ("vidA/0001.jpg", "vidB/0001.jpg")
    with pytest.raises(UserError, match=r"1 images whose photo is missing \(vidB/0001.jpg: vidA/0001.jpg is there"):
        of_json(tmp_path, *names)
    dataset = of_json(tmp_path, *names, allow_missing=True)
    assert [photo.id for photo in dataset.photos] == [1]
    assert dataset.photos[0].read().shape == expected.shape
    with pytest.raises(UserError, match=r"1 images whose photo is missing \(vidB/0001.jpg"):
        of_json(tmp_path, *names[::-1])


def test_own_paths_are_taken_whatever_the_names(tmp_path):
    pixels = [write_photo(tmp_path / f"photos/vid{video}/0001.png", seed=seed) for seed, video in enumerate("AB")]
    for photo, expected in zip(of_json(tmp_path, "vidA/0001.png", "vidB/0001.png").photos, pixels, strict=True):
        np.testing.assert_array_equal(photo.read(), expected)


def test_a_name_that_two_images_or_two_photos_have_is_nobodys(tmp_path):
    write_photo(tmp_path / "photos/1.jpg")
    with pytest.raises(UserError, match=r"2 images whose photo is missing \(a/1.jpg: 1.jpg is there, but b/1.jpg asks"):
        of_json(tmp_path, "a/1.jpg", "b/1.jpg")
    write_photo(tmp_path / "photos/x/1.jpg")
    with pytest.raises(UserError, match=r"1 images whose photo may be one of several \(a/1.jpg: 1.jpg and x/1.jpg\)"):
        of_json(tmp_path, "a/1.jpg", allow_missing=False)
    assert len(of_json(tmp_path, "1.jpg").photos) == 1


@pytest.mark.parametrize(("first", "second"), [("a.jpg", "a.jpg"), ("a.jpg", "./a.jpg"), ("x\\a.jpg", "x/a.jpg")])
def test_images_that_lead_to_one_photo_are_named_and_none_takes_it(tmp_path, first, second):
    for name in ("a.jpg", "x/a.jpg", "b.jpg"):
        write_photo(tmp_path / "photos" / name)
    with pytest.raises(UserError) as caught:
        of_json(tmp_path, first, second, "b.jpg")
    assert f"2 images that lead to one photo (id 1, {first} and id 2, {second})" in str(caught.value)
    dataset = of_json(tmp_path, first, second, "b.jpg", allow_missing=True)
    assert [photo.id for photo in dataset.photos] == [3]
    assert dataset.left_out == {"images that lead to one photo": 2}


def test_images_that_share_an_id_and_differ_are_left_out(tmp_path):
    """Which of them an annotation is of is not known."""
    for name in "abc":
        write_photo(tmp_path / f"photos/{name}.jpg")
    said = coco_content({f"{name}.jpg": random_masks(1) for name in "abc"})
    said["images"][1]["id"] = 1
    path, images = write_json(tmp_path / "x.json", said), ImageFolder(tmp_path / "photos")
    with pytest.raises(UserError, match=r"1 images whose id is given twice \(1: a.jpg and b.jpg\)"):
        read_coco(path, images=images, name="x")
    assert [photo.id for photo in read_coco(path, images=images, name="x", allow_missing=True).dataset.photos] == [3]


def test_categories_that_share_an_id_are_refused(tmp_path):
    write_photo(tmp_path / "photos/a.jpg")
    said = coco_content({"a.jpg": random_masks(1)})
    said["categories"].append({"id": 3, "name": "stone"})
    with pytest.raises(UserError, match=r"gives the id 3 to two categories: .*leaf.*stone"):
        read_coco(write_json(tmp_path / "x.json", said), images=ImageFolder(tmp_path / "photos"), name="x")


@pytest.mark.parametrize("name", ["images\\a.jpg", "C:\\data\\images\\a.jpg", "images\\\\a.jpg"])
def test_a_path_of_windows_is_read(tmp_path, name):
    write_photo(tmp_path / "photos/images/a.jpg")
    assert [photo.name for photo in of_json(tmp_path, name).photos] == ["a.jpg"]


def test_a_file_of_that_very_name_goes_before_a_path_of_windows(tmp_path):
    write_photo(tmp_path / "photos/images/a.png")
    expected = write_photo(tmp_path / "photos/images\\a.png", seed=3)
    np.testing.assert_array_equal(of_json(tmp_path, "images\\a.png").photos[0].read(), expected)


def test_a_whole_path_into_the_folder_is_one_in_it(tmp_path):
    write_photo(tmp_path / "photos/x/a.jpg")
    assert [photo.name for photo in of_json(tmp_path, str(tmp_path / "photos/x/a.jpg")).photos] == ["a.jpg"]
    with pytest.raises(UserError, match="2 images that lead to one photo"):
        of_json(tmp_path, str(tmp_path / "photos/x/a.jpg"), "x/a.jpg")


def record(number, name):
    encoded = io.BytesIO()
    Image.new("RGB", (32, 24), (100 * number, 0, 0)).save(encoded, format="JPEG")
    return Record(image_id=number, file_name=name, height=24, width=32, jpeg=encoded.getvalue(), annotations=())


@pytest.fixture
def records(monkeypatch):
    """Returns a store of records of these names."""

    def made(*names):
        class Source(list):
            name = "made"

        source = Source(encode_record(record(number, name)) for number, name in enumerate(names))
        monkeypatch.setattr(stores, "open_source", lambda path, split: source)
        return ImageRecords("made", "train")

    return made


def test_records_are_found_by_their_whole_name_and_else_by_a_name_that_is_unique(tmp_path, records):
    images = records("vidA/1.jpg", "vidB/1.jpg", "c.jpg")
    dataset = of_json(tmp_path, "vidB/1.jpg", "x/c.jpg", images=images)
    assert [round(photo.read()[0, 0, 0] / 100) for photo in dataset.photos] == [1, 2]
    with pytest.raises(UserError, match=r"photo may be one of several \(x/1.jpg: vidA/1.jpg and vidB/1.jpg\)"):
        of_json(tmp_path, "x/1.jpg", images=images)


def test_records_of_one_name_are_named(tmp_path, records):
    images = records("a.jpg", "b.jpg", "a.jpg")
    with pytest.raises(UserError, match=r"may be one of several \(a.jpg: record 0 of made and record 2 of made\)"):
        of_json(tmp_path, "a.jpg", "b.jpg", images=images)
    write_png(tmp_path / "maps/a.png", label_map((1,)))
    opened = open_label_maps(tmp_path / "maps", images=images, name="x", options=FormatOptions())
    with pytest.raises(UserError, match=r"1 photos of the same name \(a.jpg, record 0 of made and record 2 of made\)"):
        opened.read()


def write_pair(folder, kind, key):
    """A map with two objects, or a folder with two masks."""
    if kind is of_maps:
        write_png(folder / f"maps/{key}.png", label_map((1, 2)))
    else:
        for number, mask in enumerate(random_masks(2)):
            write_png(folder / f"masks/{key}/{number}.png", mask)


KINDS = {of_maps: "label maps", of_folders: "folders of masks"}


@pytest.mark.parametrize("kind", KINDS, ids=KINDS.values())
def test_maps_of_another_folder_take_no_photo(tmp_path, kind):
    """Whatever their order: the photo that is there is of the map with its path."""
    for video in "AB":
        write_pair(tmp_path, kind, f"vid{video}/0001")
    for video in "BA":
        photo = tmp_path / f"photos/vid{video}/0001.jpg"
        write_photo(photo)
        other = "A" if video == "B" else "B"
        with pytest.raises(UserError, match=rf"1 {KINDS[kind]} without a photo \(vid{other}/0001"):
            kind(tmp_path)
        dataset = kind(tmp_path, allow_missing=True)
        assert [photo.name for photo in dataset.photos] == [f"vid{video}/0001.jpg"]
        photo.unlink()
    write_photo(tmp_path / "photos/0001.jpg")
    with pytest.raises(
        UserError, match=rf"2 {KINDS[kind]} of the same name \(vidA/0001.* and vidB/0001.* for 0001.jpg\)"
    ):
        kind(tmp_path)
    write_pair(tmp_path, kind, "x/9")
    write_photo(tmp_path / "photos/9.jpg")
    assert [photo.name for photo in kind(tmp_path, allow_missing=True).photos] == ["9.jpg"]


def test_one_of_several_photos_is_not_guessed(tmp_path):
    write_pair(tmp_path, of_maps, "vidC/1")
    write_pair(tmp_path, of_maps, "vidA/1")
    for name in ("vidA/1.jpg", "vidD/1.jpg"):
        write_photo(tmp_path / "photos" / name)
    with pytest.raises(UserError, match=r"1 label maps of the same name \(vidA/1.png and vidC/1.png for vidD/1.jpg\)"):
        of_maps(tmp_path)


def test_photos_of_one_name_are_all_named_and_none_is_taken(tmp_path):
    write_pair(tmp_path, of_maps, "a")
    write_pair(tmp_path, of_maps, "b")
    for name in ("a.jpg", "a.png", "b.jpg"):
        write_photo(tmp_path / "photos" / name)
    with pytest.raises(UserError, match=r"1 photos of the same name \(a.jpg and a.png\)\."):
        of_maps(tmp_path)
    assert [photo.name for photo in of_maps(tmp_path, allow_missing=True).photos] == ["b.jpg"]


def test_capitals_of_an_extension_do_not_matter(tmp_path):
    """Windows and cameras write .PNG and .JPG."""
    write_pair(tmp_path, of_maps, "a")
    (tmp_path / "maps/a.png").rename(tmp_path / "maps/a.PNG")
    write_pair(tmp_path, of_maps, "b")
    for name in ("a.JPG", "b.jpg"):
        write_photo(tmp_path / "photos" / name)
    assert [photo.name for photo in of_maps(tmp_path).photos] == ["a.JPG", "b.jpg"]
    write_pair(tmp_path, of_maps, "a")
    with pytest.raises(UserError, match=r"1 label maps of the same name \(a.PNG and a.png\)\. Fix"):
        of_maps(tmp_path)
    assert [photo.name for photo in of_maps(tmp_path, allow_missing=True).photos] == ["b.jpg"]


def test_annotations_that_share_a_png_are_named(tmp_path):
    """And images that lead to one photo, here too."""
    values = np.full((24, 32), 5)
    write_png(tmp_path / "x/a.png", panoptic_rgb(values))
    write_photo(tmp_path / "photos/a.jpg")
    write_photo(tmp_path / "photos/b.jpg")
    images = [{"id": n, "file_name": f"{name}.jpg", "height": 24, "width": 32} for n, name in ((1, "a"), (2, "b"))]
    annotation = {"image_id": 1, "file_name": "a.png", "segments_info": [{"id": 5, "category_id": 1}]}
    annotations = [annotation, {**annotation, "image_id": 2}]
    said = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "leaf"}]}

    def read():
        path, store = write_json(tmp_path / "x.json", said), ImageFolder(tmp_path / "photos")
        return open_panoptic(path, images=store, name="x", options=FormatOptions()).read()

    with pytest.raises(UserError, match=r"2 annotations that share a PNG \(image_id 1 and 2: a.png\)"):
        read()
    said["annotations"][1] = {**annotation, "image_id": 2, "file_name": "sub\\b.png"}
    write_png(tmp_path / "x/sub/b.png", panoptic_rgb(values))
    assert len(read().dataset.photos) == 2
    images[1]["file_name"] = "a.jpg"
    with pytest.raises(UserError, match=r"2 images that lead to one photo \(id 1, a.jpg and id 2, a.jpg\)"):
        read()


# Links and hidden files


def test_links_to_folders_are_followed_and_end(tmp_path):
    for name in ("real/a.txt", "folder/sub/b.txt", "real/deep/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    folder = tmp_path / "folder"
    (folder / "one").symlink_to(tmp_path / "real")
    (folder / "two").symlink_to(tmp_path / "real")
    (folder / "again").symlink_to(folder / "sub")
    (folder / "loop").symlink_to(folder)
    (folder / "itself").symlink_to(folder / "itself")
    (tmp_path / "real/back").symlink_to(tmp_path / "real")
    found = [path.relative_to(folder).as_posix() for path in files_under(folder)]
    linked = [f"{link}/{name}" for link in ("one", "two") for name in ("a.txt", "deep/c.txt")]
    assert found == sorted(["itself", "sub/b.txt", *linked])
    assert files_under(tmp_path / "folder/one") == [folder / "one/a.txt", folder / "one/deep/c.txt"]


def test_photos_and_masks_behind_links_are_data(tmp_path):
    write_pair(tmp_path / "real", of_maps, "a")
    write_pair(tmp_path / "real", of_folders, "a")
    write_photo(tmp_path / "real/photos/a.jpg")
    for kind in ("maps", "masks", "photos"):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "v").symlink_to(tmp_path / "real" / kind)
    assert [photo.name for photo in of_maps(tmp_path).photos] == ["v/a.jpg"]
    assert [len(photo.instances) for photo in of_folders(tmp_path).photos] == [2]
    assert len(of_json(tmp_path, "a.jpg").photos) == 1
    (tmp_path / "photos/w").symlink_to(tmp_path / "real/photos")
    with pytest.raises(UserError, match="2 images that lead to one photo"):
        of_json(tmp_path, "v/a.jpg", "w/a.jpg")


def test_hidden_files_are_no_data(tmp_path):
    """macOS leaves ._NAME beside a file on other file systems, and __MACOSX in its zips."""
    write_pair(tmp_path, of_maps, "k")
    write_pair(tmp_path, of_folders, "k")
    write_photo(tmp_path / "photos/k.jpg")
    for name in ("._k", "__MACOSX/k", ".trash/k"):
        for file in (f"maps/{name}.png", f"masks/k/{name}.png", f"photos/{name}.jpg"):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).write_bytes(b"\0\5\x16\7")
    (tmp_path / "maps/.DS_Store").write_bytes(b"")
    assert [photo.name for photo in of_maps(tmp_path).photos] == ["k.jpg"]
    assert [len(photo.instances) for photo in of_folders(tmp_path).photos] == [2]
    assert of_json(tmp_path, "sub/k.jpg").photos[0].read().shape == (24, 32, 3)


def test_a_folder_that_cannot_be_listed_is_told(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    real = os.scandir

    def refuses(place):
        if str(place).endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return real(place)

    monkeypatch.setattr(os, "scandir", refuses)
    with pytest.raises(UserError, match=r"/a cannot be listed \(Permission denied\)"):
        files_under(tmp_path)


def test_names_that_are_not_utf8_are_drawn_and_shown(tmp_path):
    write_pair(tmp_path, of_maps, "k")
    write_photo(tmp_path / "photos/k.jpg")
    for file in ("photos/k.jpg", "maps/k.png"):
        place = tmp_path / file
        place.rename(place.with_stem(os.fsdecode(b"caf\xe9")))
    assert [photo.name for photo in of_maps(tmp_path).photos] == [os.fsdecode(b"caf\xe9.jpg")]
    assert len(of_json(tmp_path, os.fsdecode(b"caf\xe9.jpg")).photos) == 1
    raw = (tmp_path / "x.json").read_bytes().replace(rb"\udce9", b"\xe9")
    (tmp_path / "x.json").write_bytes(raw)
    read = read_coco(tmp_path / "x.json", images=ImageFolder(tmp_path / "photos"), name="x")
    assert len(read.dataset.photos) == 1
    (tmp_path / os.fsdecode(b"photos/caf\xe9.jpg")).unlink()
    with pytest.raises(UserError, match=r"caf\\udce9.png"):
        of_maps(tmp_path)
