"""Tables of classes: those that ship, and those of one's own."""

import json

import pytest

from samjax.core.errors import UserError
from samjax.data.annotations.category_classes import read_categories
from samjax.data.classes.class_table import (
    ClassTable,
    SegmentClass,
    known_tables,
    parse_class_table,
    read_class_table,
)
from samjax.data.records.segments import UNLABELLED

COUNTS = {"ade20k": 150, "cityscapes": 19, "coco_stuff": 171, "pascal_context": 59, "pascal_voc": 21}


def test_published_data_sets_have_their_classes():
    assert set(known_tables()) == set(COUNTS)
    for name, count in COUNTS.items():
        table = read_class_table(name)
        assert len(table.classes) == count
        assert all(one.colour is not None for one in table.classes)


def test_the_rules_of_published_maps():
    """ADE20K's 0 is nothing; Cityscapes' labelIds skip; COCO-Stuff's 255 is nothing, and 91 things are 80."""
    ade, streets, stuff = (read_class_table(name).numbers for name in ("ade20k", "cityscapes", "coco_stuff"))
    assert (ade[0], ade[1], ade[150]) == (UNLABELLED, 0, 149)
    assert (streets[7], streets[6], streets[33], streets[255]) == (0, UNLABELLED, 18, UNLABELLED)
    assert (stuff[0], stuff[11], stuff[12], stuff[181], stuff[255]) == (0, UNLABELLED, 11, 170, UNLABELLED)
    things = [one.name for one in read_class_table("cityscapes").classes if one.thing]
    assert things == ["person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]


def test_a_table_comes_back_from_its_json():
    for table in map(read_class_table, known_tables()):
        assert parse_class_table(table.to_json(), name="x") == table


CELL = {"name": "cell", "values": [1]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"classes": []}, "the table has 0 classes"),
        ({"classes": [CELL, {"name": "wall", "values": [1]}]}, "value 1 is of cell and of wall"),
        ({"classes": [CELL], "ignore": [1]}, "value 1 is of ignored and of cell"),
        ({"classes": [CELL, {"name": "cell", "values": [2]}]}, "two classes are called cell"),
        ({"classes": [CELL], "background": "sky"}, "background is 'sky', which is no class: cell"),
        ({"classes": [{"name": "cell", "colour": [0, 0, 300]}]}, "it must be between 0 and 255"),
        ({"classes": [{"title": "cell"}]}, r"classes\[0\]"),
        ([1], "expected the fields of ClassTable"),
    ],
)
def test_a_table_that_says_two_things_is_refused(content, sentence, tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=sentence):
        read_class_table(path)


def test_what_is_no_table_names_those_that_ship(tmp_path):
    with pytest.raises(UserError, match=r"ade2k is neither a known table of classes \(ade20k, .*\) nor a file"):
        read_class_table("ade2k")
    (tmp_path / "table.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        read_class_table(tmp_path / "table.json")


def test_categories_are_classes_in_the_order_of_their_ids(tmp_path):
    path = tmp_path / "panoptic.json"
    categories = [{"id": 7, "name": "sky", "isthing": 0}, {"id": 3, "name": "cat", "isthing": 1}]
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    assert read_categories(path).classes == (
        SegmentClass(name="cat", values=(3,), thing=True),
        SegmentClass(name="sky", values=(7,)),
    )
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(UserError, match="has no category"):
        read_categories(path)


def test_numbers_are_looked_up_in_the_table_itself():
    table = ClassTable(classes=(SegmentClass(name="a", values=(2, 5)), SegmentClass(name="b")), ignore=(9,))
    assert dict(table.numbers) == {2: 0, 5: 0, 9: UNLABELLED}
