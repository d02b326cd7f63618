"""`samjax annotate agreement`: two folders, one corrected, and the shares that the paper gives of SA-1B."""

import json
import shutil

import numpy as np
import pytest

from samjax.cli.main import main
from samjax.data.masks import rle


def write(folder, photo, *masks, width=20):
    folder.mkdir(exist_ok=True)
    annotations = []
    for number, columns in enumerate(masks):
        mask = np.zeros((10, width), bool)
        mask[:, :columns] = True
        annotations.append({"id": photo * 100_000 + number, "segmentation": rle.encode(mask), "area": columns * 10})
    image = {"image_id": photo, "height": 10, "width": width, "file_name": f"sa_{photo}.jpg"}
    (folder / f"sa_{photo}.json").write_text(json.dumps({"image": image, "annotations": annotations}))


@pytest.fixture
def folders(tmp_path):
    """Two photos in both folders, one in each alone; five pairs, of which three are above 0.90 and four above 0.75."""
    before, after = tmp_path / "before", tmp_path / "after"
    write(before, 1, 10, 20, 8)
    write(after, 1, 10, 19, 10)
    write(before, 2, 10, 4, 6)
    write(after, 2, 10, 8)
    write(before, 3, 5)
    write(after, 4, 5)
    return before, after


def test_shares_are_printed_and_written(folders, tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert main(["annotate", "agreement", *map(str, folders), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "5 pairs of masks in 2 photos: 60.0% above 0.90 IoU, 80.0% above 0.75 IoU\n" in said
    assert "40.0% unchanged; 1 masks deleted, 0 added" in said
    assert "1 photos are not in the second folder, and are not counted" in said
    assert "1 photos are in the second folder alone" in said
    figures = json.loads(out.read_text())
    assert figures["above_0.90"] == pytest.approx(0.6)
    assert figures["mean_iou"] == pytest.approx((1 + 0.95 + 0.8 + 1 + 0.5) / 5)
    assert (figures["photos"], figures["before_alone"], figures["after_alone"]) == (2, 1, 1)


def test_a_folder_agrees_with_itself(folders, capsys):
    assert main(["annotate", "agreement", str(folders[0]), str(folders[0])]) == 0
    assert "100.0% above 0.90 IoU, 100.0% above 0.75 IoU" in (said := capsys.readouterr().out)
    assert "100.0% unchanged; 0 masks deleted, 0 added" in said


def damaged(key, value):
    def damage(folder):
        content = json.loads((folder / "sa_1.json").read_text())
        content["annotations"][0][key] = value
        (folder / "sa_1.json").write_text(json.dumps(content))

    return damage


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (shutil.rmtree, "holds no sa_<id>.json: give a folder in SA-1B's layout"),
        (lambda folder: (folder / "sa_1.json").write_text("{"), "sa_1.json is not JSON"),
        (lambda folder: (folder / "sa_1.json").write_text("[]"), "is not SA-1B's JSON of photo 1"),
        (lambda folder: write(folder, 1, 5, width=30), None),
        (damaged("segmentation", {"size": [10, 21], "counts": "0"}), "is not of the photo's size"),
        (damaged("segmentation", {"size": [10, 20], "counts": "0"}), "runs cover 0 pixels"),
        (damaged("segmentation", None), "is not of the photo's size"),
        (damaged("uuid", 7), "its uuid is no text"),
        (lambda folder: shutil.copy(folder / "sa_2.json", folder / "sa_1.json"), "is not SA-1B's JSON of photo 1"),
    ],
)
def test_damage_is_one_sentence(folders, capsys, damage, sentence):
    damage(folders[1])
    assert main(["annotate", "agreement", *map(str, folders)]) == 2
    said = capsys.readouterr().err
    assert (sentence or "sa_1.json is of 10 x 30 pixels") in said
    assert said.count("\n") == 1


def test_folders_without_a_photo_or_a_mask_in_common_are_told(tmp_path, capsys):
    for name, photo, masks in [("a", 1, (5,)), ("b", 2, (5,)), ("c", 1, ())]:
        write(tmp_path / name, photo, *masks)
    for other, sentence in [
        ("b", "have no photo in common"),
        ("c", "no mask in common, by uuid or id: 1 are in the fi"),
    ]:
        assert main(["annotate", "agreement", str(tmp_path / "a"), str(tmp_path / other)]) == 2
        assert sentence in capsys.readouterr().err
