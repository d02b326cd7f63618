"""Values of a JSON are of the type that they must be, or refused as they are; what the field drops is dropped."""

import json

import numpy as np
import pytest
from dataset_files import SIZE, coco_content, panoptic_rgb, random_masks, write_json, write_photo, write_png
from PIL import ExifTags, Image
from pycocotools import mask as coco

from samjax.core.errors import UserError
from samjax.data.annotations.annotation_json import flag, is_number, is_whole
from samjax.data.annotations.coco_json import read_coco
from samjax.data.annotations.formats import FormatOptions
from samjax.data.annotations.images import ImageFolder
from samjax.data.annotations.panoptic import open_panoptic
from samjax.data.masks import rle
from samjax.eval.ground_truth import read_annotated_photos
from samjax.eval.protocols.instances.detections import read_detections


@pytest.fixture
def folder(tmp_path):
    write_photo(tmp_path / "photos/a.jpg")
    return tmp_path


def read(folder, said, *, allow_missing=False):
    path = write_json(folder / "x.json", said)
    return read_coco(path, images=ImageFolder(folder / "photos"), name="x", allow_missing=allow_missing)


def content():
    return coco_content({"a.jpg": random_masks(3)})


@pytest.mark.parametrize(
    ("value", "crowd"), [(0, False), (1, True), (False, False), (True, True), (0.0, False), (1.0, True), (None, False)]
)
def test_a_flag_is_a_number_or_a_truth_value(folder, value, crowd):
    said = content()
    said["annotations"][0]["iscrowd"] = value
    assert [one.crowd for one in read(folder, said).dataset.photos[0].instances] == [crowd, False, False]
    assert flag({"x": value}, "x") is crowd
    annotated = read_annotated_photos(folder / "x.json", images=ImageFolder(folder / "photos"), allow_missing=False)
    assert [one["iscrowd"] for one in annotated.truth.annotations] == [int(crowd), 0, 0]


@pytest.mark.parametrize("value", ["0", "1", "false", "", 2, -1, 0.5, float("nan"), [], [1], {}])
def test_a_flag_that_is_none_is_shown(folder, value):
    said = content()
    said["annotations"][0]["iscrowd"] = value
    kind = "annotations whose iscrowd is neither 0 nor 1"
    with pytest.raises(UserError) as caught:
        read(folder, said)
    assert f"1 {kind} (id 1: iscrowd is {value!r}, but must be 0 or 1)" in str(caught.value)
    found = read(folder, said, allow_missing=True).dataset
    assert (found.masks, found.left_out) == (2, {kind: 1})


def test_flags_of_panoptic_are_typed_too(folder):
    write_png(folder / "p/a.png", panoptic_rgb(np.repeat(np.arange(1, 5), 6)[:, None] * np.ones((1, 32), int)))
    image = {"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}
    segments = [{"id": n, "category_id": 1, "iscrowd": crowd} for n, crowd in enumerate((0, "0", True, 0.0), 1)]
    categories = [{"id": 1, "name": "leaf", "isthing": 1}]
    annotation = {"image_id": 1, "file_name": "a.png", "segments_info": segments}
    said = {"images": [image], "annotations": [annotation], "categories": categories}

    def opened(**options):
        path, images = write_json(folder / "p.json", said), ImageFolder(folder / "photos")
        return open_panoptic(path, images=images, name="x", options=FormatOptions(**options))

    with pytest.raises(UserError, match=r"1 segments whose iscrowd is neither 0 nor 1 \(a.png: 2, iscrowd is '0'"):
        opened().read()
    (photo,) = opened().read(allow_missing=True).dataset.photos
    assert [one.crowd for one in photo.instances] == [False, True, False]
    segments[1]["iscrowd"] = 0
    categories[0]["isthing"] = "false"
    with pytest.raises(UserError, match="category 1: isthing is 'false', but must be 0 or 1"):
        opened()
    categories[0]["isthing"] = False
    with pytest.raises(UserError, match="1 photos without an object"):
        opened(things_only=True).read()
    segments.append({**segments[0], "category_id": True})
    with pytest.raises(UserError, match=r"1 segments whose id is given twice \(a.png: 1\)"):
        opened().read()


@pytest.mark.parametrize("value", ["1", 1.0, True, None, [1]])
@pytest.mark.parametrize("key", ["image_id", "category_id"])
def test_an_id_of_another_type_is_another_id_and_shown_as_it_is(folder, key, value):
    said = content()
    for category in said["categories"]:
        category["id"] = 1
    for one in said["annotations"]:
        one["category_id"] = 1
    said["annotations"][0][key] = value
    with pytest.raises(UserError) as caught:
        read(folder, said)
    assert f"(id 1: {key} {value!r})" in str(caught.value)
    detection = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 0.5}
    found = read(folder, content()).dataset
    path = write_json(folder / "d.json", [{**detection, key: value}])
    with pytest.raises(UserError) as caught:
        read_detections(path, photos=found.photos, categories={1: None}, allow_missing=False)
    assert f"{key} {value!r})" in str(caught.value)


@pytest.mark.parametrize("key", ["id", "height"])
@pytest.mark.parametrize("value", ["1", 1.0, True])
def test_a_number_that_must_be_whole_is_shown(folder, key, value):
    said = content()
    said["images"][0][key] = value
    with pytest.raises(UserError, match=f"{key} is {value!r} in .*must be a whole number, 0 or more, without quotes"):
        read(folder, said)


@pytest.mark.parametrize(
    ("key", "value"),
    [("score", "0.9"), ("score", 10**400), ("bbox", ["1", 2, 3, 4]), ("bbox", [1, 2, 3, True]), ("bbox", "1 2 3 4")],
)
def test_what_of_detections_is_no_number_is_shown(folder, key, value):
    detection = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 0.5, key: value}
    path = write_json(folder / "d.json", [detection])
    photos = read(folder, content()).dataset.photos
    with pytest.raises(UserError, match=f"number 0: {key} ") as caught:
        read_detections(path, photos=photos, categories={1: None}, allow_missing=False)
    assert repr(value)[:40] in str(caught.value)


@pytest.mark.parametrize(("key", "value"), [("area", "12"), ("area", -3), ("area", True), ("bbox", [1, 2, "3", 4])])
def test_boxes_and_areas_that_are_no_numbers_are_shown(folder, key, value):
    said = content()
    said["annotations"][0][key] = value
    path, images = write_json(folder / "x.json", said), ImageFolder(folder / "photos")
    with pytest.raises(UserError) as caught:
        read_annotated_photos(path, images=images, allow_missing=False)
    assert f"(id 1: {value!r})" in str(caught.value)
    truth = read_annotated_photos(path, images=images, allow_missing=True).truth
    assert truth.annotations[0]["area"] == random_masks(3)[0].sum()


def test_numbers_are_told_from_what_looks_alike():
    assert [is_whole(one) for one in (0, -3, True, 1.0, "1", None)] == [True, True, False, False, False, False]
    assert [is_number(one) for one in (0, 1.5, True, "1", float("inf"), 10**400)] == [True, True, *[False] * 4]


# Masks

GOOD = [2.0, 2.0, 20.0, 2.0, 20.0, 20.0, 2.0, 20.0]


@pytest.mark.parametrize("bad", [[3, 4, 5, 6], [3, 4], [], [3, 4, 5], [3, 4, 5, 6, 7]])
@pytest.mark.parametrize("first", [False, True])
def test_a_part_that_is_no_polygon_costs_that_part(folder, bad, first):
    """As pycocotools keeps the object; it is counted, and refuses nothing."""
    said = content()
    said["annotations"][0]["segmentation"] = [bad, GOOD, bad] if first else [GOOD, bad]
    dataset = read(folder, said).dataset
    assert dataset.masks == 3
    drawn = coco.merge(coco.frPyObjects([GOOD], *SIZE))
    assert dataset.photos[0].instances[0].segmentation["counts"].encode() == drawn["counts"]
    assert dataset.left_out == {"parts of outlines with fewer than three corners": 2 if first else 1}


def test_an_object_of_such_parts_alone_is_none(folder):
    said = content()
    said["annotations"][0]["segmentation"] = [[3, 4, 5, 6], [1, 2]]
    with pytest.raises(UserError, match=r"\(id 1: a polygon needs three corners, x and y each, and one has 4"):
        read(folder, said)


RLE = rle.encode(random_masks(1)[0])
REASONS = {
    "segmentation is a list that holds 12, but must hold polygons": [12, 3, 5],
    "run lengths stand alone, in no list": [RLE],
    "a polygon holds [1, 2], but must hold numbers alone": [[[1, 2], [3, 4], [5, 6]]],
    "a polygon holds '1', but must hold numbers alone": [["1", 2, 3, 4, 5, 6]],
    "a polygon holds True, but": [[True, 2, 3, 4, 5, 6]],
    "segmentation is 'x', but must be a list of polygons or run lengths": "x",
    "segmentation is None, but must": None,
    "its run lengths have no 'counts'": {"size": list(SIZE)},
    "its size is '24x32', the image's [24, 32], height first": {**RLE, "size": "24x32"},
    "its size is [32, 24], the image's [24, 32], height first": {**RLE, "size": [32, 24]},
    "its counts are None, but must be text or a list": {**RLE, "counts": None},
    "one is 1.5": {**RLE, "counts": [5, 1.5]},
    "one is '5'": {**RLE, "counts": ["5"]},
    "one is None": {**RLE, "counts": [5, None]},
    "corner far outside 24 x 32: 5000": [[1, 2, 3, 4, 5, 5000]],
}


@pytest.mark.parametrize("why", REASONS)
def test_why_a_mask_is_none_is_said_with_its_value(folder, why):
    said = content()
    said["annotations"][0]["segmentation"] = REASONS[why]
    with pytest.raises(UserError) as caught:
        read(folder, said)
    assert why in str(caught.value)


def test_an_annotation_without_a_mask_is_told(folder):
    said = content()
    del said["annotations"][0]["segmentation"]
    with pytest.raises(UserError, match="id 1: it has no segmentation"):
        read(folder, said)


def test_both_sizes_are_shown_and_that_exif_turns_the_photo(folder):
    said = coco_content({"a.jpg": random_masks(1, size=(32, 24))}, size=(32, 24))
    with pytest.raises(UserError, match=r"file says \(a.jpg is 32 x 24, not 24 x 32\)"):
        read(folder, said)
    picture = Image.new("RGB", (32, 24))
    exif = picture.getexif()
    exif[ExifTags.Base.Orientation] = 6
    picture.save(folder / "photos/a.jpg", exif=exif)
    with pytest.raises(UserError, match=r"a.jpg is 32 x 24, not 24 x 32: EXIF turns the photo, and masks must lie on"):
        read(folder, said)
    said["images"][0]["width"] = 25
    with pytest.raises(UserError, match=r"a.jpg is 32 x 24, not 25 x 32\)"):
        read(folder, said)


@pytest.mark.parametrize(("name", "says"), [(5, "the file_name 5, but it must be text"), ("", "neither file_name nor")])
def test_a_file_name_is_text(folder, name, says):
    said = content()
    said["images"][0]["file_name"] = name
    with pytest.raises(UserError, match=says):
        read(folder, said)


def test_a_long_value_is_cut_and_no_line_is_broken(folder):
    said = content()
    said["annotations"][0]["image_id"] = "x" * 10_000
    said["images"][0]["file_name"] = "a\nb.jpg"
    with pytest.raises(UserError) as caught:
        read(folder, said)
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)
    assert "a\\nb.jpg" in str(caught.value)
    assert json.loads((folder / "x.json").read_text()) == said
