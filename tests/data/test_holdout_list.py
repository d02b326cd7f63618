"""Photos that a list holds out: what its names mean, and what is wrong with a list."""

import json
import unicodedata

import numpy as np
import pytest
from helpers.depth_scenes import write_depth_scenes
from PIL import Image

import samjax
from data_pipelines.holdout import Splits
from data_pipelines.holdout_list import MISSING, check_list, find_name, read_photo_list
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.data.records import depths, masks
from samjax.data.stream.sources import open_source


@pytest.fixture
def listed(tmp_path):
    """Return a function that writes a list."""

    def write(text: str) -> str:
        (tmp_path / "val.txt").write_text(text)
        return str(tmp_path / "val.txt")

    return write


def test_names_are_those_of_the_lists_that_data_sets_have(listed):
    """Pascal VOC's, KITTI's and NYU's; accents as Macs and as others write them."""
    accented = unicodedata.normalize("NFD", "Zürich/café.JPG")
    path = listed(f"2007_000032\n\n  day/05.png proj/05.png 721.5\r\n./a.b.c\n{accented}\n2007_000032\n")
    names = read_photo_list(path)
    assert names == {"2007_000032", "day/05", "a.b.c", "Zürich/café"}
    assert find_name(names, "VOC/JPEGImages/2007_000032.jpg") == "2007_000032"
    assert find_name(names, "all/day/05.jpg") == "day/05"
    assert find_name(names, "night/05.png") is None
    assert find_name(names, "a.b.c.png") == "a.b.c"
    assert find_name(names, unicodedata.normalize("NFC", "Zürich/café.png")) == "Zürich/café"
    assert find_name(names, "a.b.d.png") is None


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), (b" \n\n", "is empty"), (b"\xff\xfe\n", "is no list of photos")],
)
def test_what_is_no_list_is_refused(tmp_path, content, said):
    if content is not None:
        (tmp_path / "val.txt").write_bytes(content)
    with pytest.raises(UserError, match=f"val.txt {said}"):
        read_photo_list(tmp_path / "val.txt")


def test_names_of_no_photo_or_of_two():
    names = frozenset({"a", "b/c", "d"})
    with pytest.raises(UserError, match="1 of 3 photos of the list are not there, such as d"):
        check_list(names, ["x/a.png", "b/c.png", "e.png"], allow_missing=False)
    assert check_list(names, ["x/a.png", "b/c.png", "e.png"], allow_missing=True) == {MISSING: 1}
    with pytest.raises(UserError, match="a in the list is the name of 2 photos: write the folder before it"):
        check_list(names, ["x/a.png", "y/a.png"], allow_missing=True)
    assert not check_list(names, ["a.png", "b/c.png", "d.png"], allow_missing=False)


def test_a_list_and_a_share_contradict_each_other():
    with pytest.raises(UserError, match="--holdout and --holdout-list both say"):
        Splits(holdout=0.1, holdout_names=frozenset({"a"}))
    with pytest.raises(UserError, match="--split is val"):
        Splits(name="val", holdout_names=frozenset({"a"}))
    assert Splits(holdout_names=frozenset({"a"})).description != Splits(holdout_names=frozenset({"b"})).description


def names_of(folder, split: str, kind) -> list[str]:
    source = open_source(str(folder), split, kind.SCHEMA)
    return sorted(kind.decode_record(source[index]).file_name for index in range(len(source)))


def test_depth_maps_by_a_list(tmp_path, listed, capsys):
    write_depth_scenes(tmp_path, photos=4, size=(6, 9))

    def prepare(out: str, names: str) -> int | None:
        places = ["--annotations", str(tmp_path / "depth"), "--images", str(tmp_path / "photos")]
        options = ["--out", str(tmp_path / out), "--workers", "1", "--holdout-list", listed(names)]
        return main(["data", "prepare", "--format", "depth", *places, *options])

    assert not prepare("out", "1.png depth/1.png 500\n3\n")
    assert names_of(tmp_path / "out", "val", depths) == ["1.png", "3.png"]
    assert names_of(tmp_path / "out", "train", depths) == ["0.png", "2.png"]
    assert prepare("other", "1\n9\n") == 2
    assert "1 of 2 photos of the list are not there, such as 9" in capsys.readouterr().err
    assert prepare("out", "1\n2\n") == 2
    assert "a list of 2 held out" in capsys.readouterr().err, "the folder is of another list"


def test_annotations_by_a_list_from_python(tmp_path, listed):
    images, annotations = [], []
    (tmp_path / "photos").mkdir()
    for number in range(1, 5):
        name = f"{number}.png"
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / "photos" / name)
        images.append({"id": number, "file_name": name, "width": 8, "height": 8})
        box = {"bbox": [1, 1, 4, 4], "area": 16, "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]], "iscrowd": 0}
        annotations.append({"id": number, "image_id": number, "category_id": 1, **box})
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (tmp_path / "all.json").write_text(json.dumps(content))
    options = {"images": tmp_path / "photos", "holdout_list": listed("2\n")}
    samjax.prepare(tmp_path / "all.json", tmp_path / "out", **options)
    assert names_of(tmp_path / "out", "val", masks) == ["2.png"]
    assert names_of(tmp_path / "out", "train", masks) == ["1.png", "3.png", "4.png"]
