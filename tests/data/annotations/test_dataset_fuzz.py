"""Whatever an annotation file says, it is read or refused in one sentence."""

import copy

import pytest
from dataset_files import SIZE, coco_content, panoptic_rgb, random_masks, write_json, write_photo, write_png
from hypothesis import given, settings
from hypothesis import strategies as st

from samjax.core.errors import UserError
from samjax.data.annotations.coco_json import read_coco
from samjax.data.annotations.formats import FormatOptions
from samjax.data.annotations.images import ImageFolder
from samjax.data.annotations.panoptic import open_panoptic

JUNK = st.sampled_from(
    [None, True, -1, 0, 2, 2**31, 10**400, 1.5, float("nan"), float("inf"), "", "x", "../x", "a.jpg\0", [], [[]], {}]
)
JUNK |= st.sampled_from([[1], [[1]], ["x"], {"size": 1}, {"size": [24, 32]}, {"size": [24, 32], "counts": None}])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("fuzz")
    write_photo(place / "photos/a.jpg")
    values = random_masks(1)[0].astype(int) * 300
    write_png(place / "panoptic/a.png", panoptic_rgb(values))
    return place


def instances():
    content = coco_content({"a.jpg": random_masks(2)})
    content["annotations"][1]["segmentation"] = [[1, 2, 3, 4, 5, 9]]
    return content


def panoptic():
    image = {"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}
    said = [{"id": 300, "category_id": 3, "iscrowd": 0}]
    annotation = {"image_id": 1, "file_name": "a.png", "segments_info": said}
    return {"images": [image], "annotations": [annotation], "categories": [{"id": 3, "name": "leaf", "isthing": 1}]}


def places(node, path=()):
    """Every place in a JSON, as the keys that lead there."""
    yield path
    if isinstance(node, dict | list):
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            yield from places(child, (*path, key))


def replaced(content, path, junk):
    if not path:
        return junk
    changed = copy.deepcopy(content)
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = junk
    return changed


def check(read):
    try:
        read()
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017


@given(data=st.data(), allow_missing=st.booleans())
@settings(max_examples=80)
def test_instances_with_anything_anywhere(folder, data, allow_missing):
    content = instances()
    path = data.draw(st.sampled_from(list(places(content))))
    said = write_json(folder / "instances.json", replaced(content, path, data.draw(JUNK)))
    check(lambda: read_coco(said, images=ImageFolder(folder / "photos"), name="x", allow_missing=allow_missing))


@given(data=st.data(), allow_missing=st.booleans())
@settings(max_examples=80)
def test_panoptic_with_anything_anywhere(folder, data, allow_missing):
    content = panoptic()
    path = data.draw(st.sampled_from(list(places(content))))
    said = write_json(folder / "panoptic.json", replaced(content, path, data.draw(JUNK)))
    images, options = ImageFolder(folder / "photos"), FormatOptions()
    check(lambda: open_panoptic(said, images=images, name="x", options=options).read(allow_missing=allow_missing))
