"""Which photos have objects, which have none, and of which nobody knows."""

import json

import pytest
from helpers.made_annotations import ANNOTATIONS, rectangles, save, write_formats

from samjax.core.errors import UserError
from samjax.data.annotations.all_photos import read_all_photos
from samjax.data.annotations.formats import Format, FormatOptions
from samjax.data.annotations.images import ImageFolder

TWO = rectangles((2, 3, 10, 9), (12, 3, 20, 30))
FORMATS = list(ANNOTATIONS)


def read(folder, format, *, options=None, **allowances):
    return read_all_photos(
        str(folder / ANNOTATIONS[format]),
        format=format,
        images=ImageFolder(folder / "images"),
        options=options or FormatOptions(),
        **allowances,
    )


def names(photos):
    return [photo.path for photo in photos]


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def made(tmp_path):
    write_formats(tmp_path, {"a/x.png": TWO, "b/x.png": TWO[:1], "z.png": []})
    return tmp_path


@pytest.mark.parametrize("format", FORMATS)
def test_photos_without_objects_are_told_apart_in_every_format(made, format):
    """A photo without a folder of PNGs may as well be one that nobody annotated: an option says so."""
    allowed = {"allow_unannotated": True} if format is Format.INSTANCE_PNGS else {}
    found = read(made, format, **allowed)
    assert names(found.with_objects) == ["a/x.png", "b/x.png"]
    assert names(found.without_objects) == ["z.png"]
    assert [[one.id for one in photo.instances] for photo in found.with_objects] == [[1, 2], [3]]
    assert found.left_out == {}
    assert found.without_objects[0].read().shape == (24, 32, 3)


@pytest.mark.parametrize("format", [Format.LABEL_MAPS, Format.PANOPTIC, Format.INSTANCE_PNGS])
def test_photos_that_nobody_annotated_are_refused_left_out_or_allowed(made, format):
    save(made / "images/extra.png", read(made, Format.COCO).with_objects[0].read())
    change(made / "panoptic.json", lambda content: content["images"].append({**content["images"][0], **EXTRA}))
    said = {Format.PANOPTIC: "images without annotations", Format.INSTANCE_PNGS: "photos without folders of masks"}
    with pytest.raises(UserError, match=rf"{said.get(format, 'photos without label maps')}.*--allow-unannotated"):
        read(made, format)
    left = read(made, format, allow_missing=True)
    assert "extra.png" not in names(left.without_objects)
    assert sum(left.left_out.values()) == (2 if format is Format.INSTANCE_PNGS else 1)
    allowed = read(made, format, allow_unannotated=True)
    assert set(names(allowed.without_objects)) == {"extra.png", "z.png"}
    assert allowed.left_out == {}


EXTRA = {"id": 9, "file_name": "extra.png"}


def test_crowds_and_empty_masks_are_left_out_and_their_photos_are_not_without_objects(made):
    def edit(content):
        content["annotations"][0]["iscrowd"] = 1
        content["annotations"][2]["iscrowd"] = 1
        content["annotations"].append({**content["annotations"][0], "id": 9, "iscrowd": 0, "segmentation": EMPTY})

    change(made / "coco.json", edit)
    found = read(made, Format.COCO)
    assert names(found.with_objects) == ["a/x.png"]
    assert [one.id for one in found.with_objects[0].instances] == [2]
    assert names(found.without_objects) == ["z.png"]
    unusable = "photos without a mask that can be used"
    assert found.left_out == {"crowds": 2, "masks without a pixel": 1, unusable: 1}


EMPTY = {"size": [24, 32], "counts": [24 * 32]}


def test_crowds_of_panoptic_are_counted_as_those_of_coco(made):
    change(made / "panoptic.json", lambda content: content["annotations"][1]["segments_info"][0].update(iscrowd=1))
    change(made / "coco.json", lambda content: content["annotations"][2].update(iscrowd=1))
    found, coco = read(made, Format.PANOPTIC), read(made, Format.COCO)
    assert found.left_out == coco.left_out == {"crowds": 1, "photos without a mask that can be used": 1}
    assert names(found.without_objects) == names(coco.without_objects) == ["z.png"]


def test_stuff_alone_is_no_object_where_things_are_asked_for(made):
    change(made / "panoptic.json", lambda content: content["categories"][0].update(isthing=0))
    found = read(made, Format.PANOPTIC, options=FormatOptions(things_only=True))
    assert names(found.with_objects) == []
    assert len(found.without_objects) == 3


@pytest.mark.parametrize("format", [Format.COCO, Format.PANOPTIC])
def test_a_photo_whose_annotations_are_refused_is_not_without_objects(made, format):
    def edit(content):
        ours = content["annotations"]
        one = ours[2] if format is Format.COCO else ours[1]["segments_info"][0]
        one["category_id"] = 77

    change(made / ANNOTATIONS[format], edit)
    with pytest.raises(UserError, match="unknown categories"):
        read(made, format)
    found = read(made, format, allow_missing=True, allow_unannotated=True)
    assert names(found.with_objects) == ["a/x.png"]
    assert names(found.without_objects) == ["z.png"]
    assert found.left_out["photos without a mask that can be used"] == 1


def test_photos_beside_their_masks_need_no_folder_of_photos(made, tmp_path):
    for place, mask in enumerate(TWO, 1):
        save(tmp_path / f"beside/k/masks/{place}.png", 255 * mask.astype("uint8"))
    save(tmp_path / "beside/k/images/k.png", read(made, Format.COCO).with_objects[0].read())
    path, options = str(tmp_path / "beside"), FormatOptions()
    found = read_all_photos(path, format=Format.INSTANCE_PNGS, images=None, options=options)
    assert names(found.with_objects) == ["k/images/k.png"]
    with pytest.raises(UserError, match="give their folder with --images"):
        read_all_photos(str(made / "coco.json"), format=Format.COCO, images=None, options=options)
