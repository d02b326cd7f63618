import copy
import json

import numpy as np
import pytest
from dataset_files import SIZE, coco_content, masks_of, random_masks, read_every_photo, write_json, write_photo
from pycocotools.coco import COCO

from samjax.cli.evaluation import open_images
from samjax.core.errors import UserError
from samjax.data.annotations.coco_json import read_coco
from samjax.data.annotations.images import ImageFolder, ImageRecords
from samjax.data.masks import rle


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "b.png"):
        write_photo(tmp_path / "photos" / name)
    return tmp_path


def content():
    return coco_content({"a.jpg": random_masks(3), "b.png": random_masks(2, seed=1)})


def read(folder, said, *, allow_missing=False):
    path = write_json(folder / "instances.json", said)
    return read_coco(path, images=ImageFolder(folder / "photos"), name="made", allow_missing=allow_missing)


def test_masks_come_back_as_they_were_written_overlapping_or_not(folder):
    found = read(folder, content())
    assert [photo.name for photo in found.dataset.photos] == ["a.jpg", "b.png"]
    assert [[one.id for one in photo.instances] for photo in found.dataset.photos] == [[1, 2, 3], [4, 5]]
    np.testing.assert_array_equal(masks_of(found.dataset.photos[0]), random_masks(3))
    assert found.dataset.categories == {3: "leaf"}
    assert found.dataset.left_out == {}


def test_photos_are_read_when_asked_for_and_as_stored(folder):
    expected = write_photo(folder / "photos/b.png", seed=7)
    found = read(folder, content())
    np.testing.assert_array_equal(found.dataset.photos[1].read(), expected)


def test_order_is_that_of_ids_whatever_the_files(folder):
    said = content()
    shuffled = {**said, "images": said["images"][::-1], "annotations": said["annotations"][::-1]}
    found = read(folder, shuffled).dataset.photos
    assert [photo.id for photo in found] == [1, 2]
    assert sorted(one.id for one in found[0].instances) == [1, 2, 3]


def test_polygons_are_drawn_as_pycocotools_draws_them(folder):
    polygons = [[2.5, 3.0, 20.2, 4.4, 15.0, 20.9], [25.0, 1.0, 31.5, 1.0, 31.5, 10.0, 25.0, 10.0]]
    said = content()
    said["annotations"][0]["segmentation"] = polygons
    theirs = COCO()
    theirs.dataset = said
    theirs.createIndex()
    found = read(folder, said).dataset.photos[0].instances[0]
    assert found.segmentation["counts"].encode() == theirs.annToRLE(said["annotations"][0])["counts"]
    assert found.mask()[6, 14]
    assert found.mask()[5, 28]
    assert not found.mask()[20, 28]


def test_runs_may_be_plain_numbers(folder):
    said = content()
    segmentation = said["annotations"][0]["segmentation"]
    runs = rle.parse_runs(segmentation["counts"], height=SIZE[0], width=SIZE[1])
    said["annotations"][0]["segmentation"] = {"size": list(SIZE), "counts": runs.tolist()}
    assert read(folder, said).dataset.photos[0].instances[0].segmentation == segmentation


def test_crowds_are_told_and_not_counted(folder):
    said = content()
    said["annotations"][1]["iscrowd"] = 1
    dataset = read(folder, said).dataset
    assert [one.crowd for one in dataset.photos[0].instances] == [False, True, False]
    assert dataset.masks == 4


def test_a_photo_is_found_by_the_end_of_its_address_or_its_name_of_2014(folder):
    """LVIS v1 gives addresses alone; v0.5 calls photos of 2017 as in 2014."""
    write_photo(folder / "photos/val2017/000000000042.jpg")
    said = content()
    del said["images"][0]["file_name"]
    said["images"][0]["coco_url"] = "http://images.cocodataset.org/val2017/000000000042.jpg"
    assert read(folder, said).dataset.photos[0].name == "000000000042.jpg"
    said["images"][0]["file_name"] = "COCO_val2014_000000000042.jpg"
    assert len(read(folder, said).dataset.photos) == 2


def test_photos_may_be_records(prepared, tmp_path):
    images = ImageRecords(str(prepared / "val"), "val")
    name = images.names()[0]
    height, width = images.size(name)
    said = coco_content({name: [np.ones((height, width), bool)]}, size=(height, width))
    dataset = read_coco(write_json(tmp_path / "x.json", said), images=images, name="x").dataset
    assert dataset.photos[0].read().shape == (height, width, 3)
    said["images"][0]["height"] += 1
    with pytest.raises(UserError, match="1 photos of another size than the file says"):
        read_coco(write_json(tmp_path / "x.json", said), images=images, name="x")


def test_photos_of_every_split_are_found(prepared, tmp_path):
    """Whatever the splits are called: of annotations' photos nobody is asked for one."""
    assert (
        open_images(str(prepared / "val"), out=tmp_path).names() == ImageRecords(str(prepared / "val"), "val").names()
    )


def first(said, key):
    return said["annotations"][0] if key == "annotation" else said["images"][0]


BROKEN = {
    "annotations of images that are not in the file": lambda said: said["annotations"][0].update(image_id=[9]),
    "annotations of unknown categories": lambda said: said["annotations"][0].update(category_id={}),
    "annotations whose id is given twice": lambda said: said["annotations"][0].update(id=2),
    "images whose id is given twice": lambda said: said["images"].append(said["images"][0]),
    "images whose photo is missing": lambda said: said["images"][0].update(file_name="x" * 5_000),
    "photos of another size than the file says": lambda said: said["images"][0].update(height=23),
    "images without annotations": lambda said: said["annotations"].__delitem__(slice(0, 3)),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_does_not_fit_is_refused_and_counted_where_allowed(folder, kind):
    said = content()
    BROKEN[kind](said)
    option = "unannotated" if kind == "images without annotations" else "missing"
    with pytest.raises(UserError, match=rf"instances.json has 1 {kind} \(.*--allow-{option}") as caught:
        read(folder, said)
    assert "\n" not in str(caught.value)
    found = read(folder, said, allow_missing=True)
    assert found.dataset.left_out == {kind: 1}
    read_every_photo(found.dataset)
    assert {one["image_id"] for one in found.content["annotations"]} <= {one["id"] for one in found.content["images"]}


MASKS = {
    r"its size is \[23, 32\], the image's \[24, 32\]": {"size": [23, 32], "counts": [736]},
    "counts hold a character outside the code": {"size": list(SIZE), "counts": "\u00fc"},
    "runs cover 5 pixels": {"size": list(SIZE), "counts": [5]},
    "not whole numbers from 0": {"size": list(SIZE), "counts": [5, 1.5]},
    "not whole numbers from": {"size": list(SIZE), "counts": [2**70]},
    "segmentation is empty": [],
    "three corners": [[1, 2, 3, 4]],
    "three corners,": [[1, 2, 3, 4, 5, 6, 7]],
    "corner far outside": [[1, 2, 3, 4, 5, 1e9]],
    "corner far": [[1, 2, 3, 4, 5, float("nan")]],
    "too large": [[1, 2, 3, 4, 5, 10**400]],
    "outline is longer": [[0, 0, 60, 0] * 100_000],
    "'size'": {},
}


@pytest.mark.parametrize("why", MASKS)
def test_a_mask_that_is_none_is_told_with_the_reason(folder, why):
    said = content()
    said["annotations"][0]["segmentation"] = MASKS[why]
    with pytest.raises(UserError, match=rf"1 annotations whose mask cannot be used \(id 1: .*{why}"):
        read(folder, said)
    assert read(folder, said, allow_missing=True).dataset.masks == 4


def test_all_that_is_wrong_is_in_one_message(folder):
    said = content()
    said["images"][0]["file_name"] = "none.jpg"
    said["annotations"][4]["category_id"] = 8
    with pytest.raises(UserError, match=r"1 images whose photo is missing \(none.jpg\); 1 annotations of unknown"):
        read(folder, said)


def test_a_name_cannot_lead_out_of_the_folder(folder):
    write_photo(folder / "secret.png")
    for name in ("../secret.png", str(folder / "secret.png")):
        said = content()
        said["images"][0]["file_name"] = name
        with pytest.raises(UserError, match="outside"):
            read(folder, said, allow_missing=True)


def test_a_photo_damaged_behind_its_header_is_told_when_read(folder):
    path = folder / "photos/a.jpg"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UserError, match=r"a\.jpg cannot be read"):
        read(folder, content()).dataset.photos[0].read()
    path.write_bytes(b"no picture")
    with pytest.raises(UserError, match="1 photos that cannot be read"):
        read(folder, content())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "no list 'images'"),
        ('{"images": [1], "annotations": [], "categories": []}', "no list 'images'"),
        ('{"images": [{"id": -1}], "annotations": [], "categories": []}', "id is -1"),
        ('{"images": [{"id": 1, "height": "4"}], "annotations": [], "categories": []}', "height is '4'"),
        ('{"images": [{"id": 1, "height": 4, "width": 4}], "annotations": [], "categories": []}', "neither file_name"),
    ],
)
def test_what_is_no_such_json_is_refused_in_one_sentence(folder, text, says):
    path = folder / "x.json"
    path.write_text(text)
    with pytest.raises(UserError, match=says) as caught:
        read_coco(path, images=ImageFolder(folder / "photos"), name="x", allow_missing=True)
    assert "\n" not in str(caught.value)


def test_panoptic_annotations_are_told_from_instances(folder):
    said = content()
    said["annotations"][0]["segments_info"] = []
    with pytest.raises(UserError, match="--format panoptic"):
        read(folder, said)


def test_what_was_read_is_not_changed(folder):
    said = content()
    before = copy.deepcopy(said)
    assert json.loads(json.dumps(read(folder, said).content)) == before
