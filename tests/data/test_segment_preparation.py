"""Annotated photos become records in which each pixel has a class, whatever format they come in."""

import json

import numpy as np
import pytest
from helpers.made_annotations import ANNOTATIONS, rectangles, write_formats
from PIL import Image

from data_pipelines.annotated_photos import prepare
from data_pipelines.preparation import LocalRun
from data_pipelines.verify import verify
from samjax.core.errors import UserError
from samjax.data.annotations.category_classes import read_categories
from samjax.data.annotations.formats import Format
from samjax.data.classes.class_table import ClassTable, SegmentClass
from samjax.data.classes.record_classes import read_record_classes
from samjax.data.records import segments
from samjax.data.stream.sources import open_source

SERIAL = LocalRun(workers=1)


def read(folder, split="train"):
    source = open_source(str(folder), split, segments.SCHEMA)
    return [segments.decode_record(source[index]) for index in range(len(source))]


@pytest.fixture
def maps(tmp_path):
    """Two photos, with a map of the values 0, 1, 2 and 255."""
    for name, low in (("a", 0), ("b", 1)):
        values = np.full((12, 16), low, np.uint8)
        values[:4], values[10:], values[6:8, 3:5] = 2, 255, 1
        for kind, picture in (("maps", values), ("images", np.zeros((12, 16, 3), np.uint8) + values[..., None])):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(picture).save(tmp_path / kind / f"{name}.png")
    return tmp_path


def run(folder, classes, *, format=Format.LABEL_MAPS, annotations="maps", out="out", **options):
    return prepare(str(folder / annotations), folder / out, images=folder / "images", format=format, classes=classes,
                   run=SERIAL, **options)  # fmt: skip


def table(*values, **changes):
    classes = tuple(SegmentClass(name=f"class {k}", values=one) for k, one in enumerate(values))
    return ClassTable(classes=classes, **changes)


def test_classes_of_label_maps_are_those_of_the_table(maps):
    classes = table((0, 2), (1,), ignore=(255,))
    run(maps, classes)
    assert read_record_classes(str(maps / "out")) == classes
    for record in read(maps / "out"):
        values = np.asarray(Image.open(maps / "maps" / record.file_name)).astype(int)
        expected = np.select([np.isin(values, (0, 2)), values == 1], [0, 1], default=segments.UNLABELLED)
        np.testing.assert_array_equal(record.classes(), expected)
    assert verify(str(maps / "out"))


def test_values_outside_the_table_are_refused_by_name(maps):
    with pytest.raises(UserError, match=r"does not have the values 2 \(in a\.png\): add each to a class"):
        run(maps, table((0,), (1,), ignore=(255,)))


def test_a_class_that_no_photo_has_is_said(maps, caplog):
    run(maps, table((0,), (1,), (2,), (7,), ignore=(255,)))
    assert "No photo has the classes class 3: a model cannot learn them" in caplog.text


def test_maps_of_nothing_that_counts_are_refused(maps):
    with pytest.raises(UserError, match="no photo has a pixel of any class"):
        run(maps, table((7,), ignore=(0, 1, 2, 255)))


def test_another_table_needs_another_folder(maps):
    run(maps, table((0, 1), (2,), ignore=(255,)))
    with pytest.raises(UserError, match="exists already and was prepared from something else"):
        run(maps, table((0,), (1, 2), ignore=(255,)))


def test_a_map_of_another_size_and_a_coloured_one_are_refused(maps):
    Image.new("L", (15, 12)).save(maps / "maps" / "a.png")
    with pytest.raises(UserError, match="label maps of another size"):
        run(maps, table((0,), (1,), (2,), ignore=(255,)))
    Image.new("RGB", (16, 12)).save(maps / "maps" / "a.png")
    with pytest.raises(UserError, match="it is RGB, not grey and without a palette"):
        run(maps, table((0,), (1,), (2,), ignore=(255,)))


def test_of_objects_the_smaller_one_is_seen_and_the_rest_is_background(tmp_path):
    write_formats(tmp_path, {"a.png": rectangles((2, 3, 20, 30), (5, 6, 9, 12))})
    path = tmp_path / ANNOTATIONS[Format.COCO]
    content = json.loads(path.read_text())
    for number, one in enumerate(content["annotations"], 1):
        one["category_id"] = number
    content["categories"] = [{"id": 1, "name": "table"}, {"id": 2, "name": "cup"}]
    path.write_text(json.dumps(content))
    own = read_categories(path)
    run(tmp_path, own, format=Format.COCO, annotations=path.name)
    (record,) = read(tmp_path / "out")
    classes = record.classes()
    assert (classes[5:9, 6:12] == 1).all() or (classes[6:12, 5:9] == 1).all()
    assert {-1, 0, 1} == set(np.unique(classes).tolist())
    with_ground = ClassTable(classes=(*own.classes, SegmentClass(name="ground")), background="ground")
    run(tmp_path, with_ground, format=Format.COCO, annotations=path.name, out="other")
    (record,) = read(tmp_path / "other")
    np.testing.assert_array_equal(record.classes(), np.where(classes < 0, 2, classes))


def test_ignored_pixels_are_no_background(maps):
    """Of values 0, 1, 2 and 255 the table has 1 as a class, and ignores the others: no pixel is of no object."""
    classes = (SegmentClass(name="road", values=(1,)), SegmentClass(name="ground"))
    run(maps, ClassTable(classes=classes, ignore=(0, 2, 255), background="ground"))
    for record in read(maps / "out"):
        values = np.asarray(Image.open(maps / "maps" / record.file_name))
        np.testing.assert_array_equal(record.classes(), np.where(values == 1, 0, segments.UNLABELLED))


def test_a_photo_without_an_object_is_all_background_where_there_is_one(tmp_path):
    write_formats(tmp_path, {"a.png": rectangles((2, 3, 20, 30)), "b.png": []})
    path = tmp_path / ANNOTATIONS[Format.COCO]
    classes = (SegmentClass(name="cup", values=(3,)), SegmentClass(name="ground"))
    run(tmp_path, ClassTable(classes=classes, background="ground"), format=Format.COCO, annotations=path.name)
    found = {record.file_name: set(np.unique(record.classes()).tolist()) for record in read(tmp_path / "out")}
    assert found == {"a.png": {0, 1}, "b.png": {1}}
    report = run(tmp_path, ClassTable(classes=classes[:1]), format=Format.COCO, annotations=path.name, out="other")
    assert [record.file_name for record in read(tmp_path / "other")] == ["a.png"]
    assert "1 photos without objects (they train nothing)" in report.text()


def test_categories_change_no_record_of_masks(tmp_path):
    """A folder stays complete where a category alone has changed."""
    write_formats(tmp_path, {"a.png": rectangles((2, 3, 20, 30))})
    path = tmp_path / ANNOTATIONS[Format.COCO]
    before = run(tmp_path, None, format=Format.COCO, annotations=path.name)
    content = json.loads(path.read_text())
    content["categories"], content["annotations"][0]["category_id"] = [{"id": 7, "name": "cup"}], 7
    path.write_text(json.dumps(content))
    assert run(tmp_path, None, format=Format.COCO, annotations=path.name) == before


def test_crowds_have_classes_and_say_that_they_are_crowds(tmp_path):
    write_formats(tmp_path, {"a.png": rectangles((2, 3, 20, 10), (2, 12, 20, 30))})
    path = tmp_path / ANNOTATIONS[Format.COCO]
    content = json.loads(path.read_text())
    content["annotations"][1]["iscrowd"] = 1
    path.write_text(json.dumps(content))
    run(tmp_path, read_categories(path), format=Format.COCO, annotations=path.name)
    (record,) = read(tmp_path / "out")
    assert [one.crowd for one in sorted(record.segments, key=lambda one: (record.ids() == one.id).sum())] == [
        False,
        True,
    ]


def test_panoptic_segments_keep_their_categories(tmp_path):
    write_formats(tmp_path, {"a.png": rectangles((2, 3, 20, 30), (22, 3, 30, 12))})
    path = tmp_path / ANNOTATIONS[Format.PANOPTIC]
    run(tmp_path, read_categories(path), format=Format.PANOPTIC, annotations=path.name)
    (record,) = read(tmp_path / "out")
    assert len(record.segments) == 2
    assert all(one.thing for one in record.segments)
    assert (record.classes() >= 0).sum() == (record.ids() > 0).sum() > 0
