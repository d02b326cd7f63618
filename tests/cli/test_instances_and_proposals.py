"""`samjax evaluate instances` and `proposals` as they are typed, on a model that is random."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

from samjax.cli.main import main
from samjax.data.masks import rle
from samjax.eval.results import Results

pytestmark = pytest.mark.usefixtures("compiled_once")

SIZES = ((48, 64), (60, 40), (64, 64))
GRID = ("--points-per-side", "3", "--points-per-batch", "9")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three photos, the last without annotations, and a detector's boxes on them."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "photos").mkdir()
    draw = np.random.default_rng(0)
    images, annotations, detections = [], [], []
    for place, (height, width) in enumerate(SIZES):
        pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{place}.png")
        images.append({"id": place + 5, "file_name": f"{place}.png", "height": height, "width": width})
        for n in range(2):
            mask = np.zeros((height, width), bool)
            mask[5 + n : 25, 4 : 20 + 10 * n] = True
            box = [4, 5 + n, 16 + 10 * n, 20 - n]
            about = {"image_id": place + 5, "category_id": n + 1, "bbox": box}
            if place < 2:
                annotations.append(
                    {**about, "id": len(annotations), "area": int(mask.sum()), "segmentation": rle.encode(mask)}
                )
            detections.append({**about, "score": 0.5 + 0.1 * n + 0.3 * (place == 2)})
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    (folder / "detections.json").write_text(json.dumps(detections))
    return folder


def run(protocol: str, checkpoint, data, out, *options: str) -> int:
    given = ["--annotations", str(data / "annotations.json"), "--images", str(data / "photos"), "--out", str(out)]
    return main(["evaluate", protocol, "--checkpoint", str(checkpoint), *given, *options])


def test_instances(checkpoint, data, tmp_path, capsys):
    """The boxes on the photo without annotations are false; figures do not depend on how often it was begun."""
    asked = ("instances", checkpoint, data, tmp_path / "out")
    boxes = ("--boxes", str(data / "detections.json"))
    assert run(*asked, *boxes) == 2
    assert "1 images without annotations (7)" in capsys.readouterr().err
    assert run(*asked, *boxes, "--resume", "--allow-unannotated") == 0
    said = capsys.readouterr()
    results = Results.read(tmp_path / "out")
    assert [row.name for row in results.rows] == ["boxes given", "masks, one pass", "masks, refined"]
    assert 0 < results.rows[0].metrics["AP"] < 100
    assert "1 of the photos have no annotations" in said.out
    assert results.table() in said.out
    for name in ("ap.png", "worst.png", "table.txt"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    first, second = (json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("predictions", "refined"))
    assert [one["image_id"] for one in first] == [5, 5, 6, 6, 7, 7]
    assert [one["segmentation"] for one in first] != [one["segmentation"] for one in second]
    assert run(*asked, *boxes, "--resume", "--allow-missing") == 0
    assert Results.read(tmp_path / "out") == results
    assert run(*asked, "--boxes", "ground-truth", "--resume", "--allow-missing") == 2
    assert "was begun with settings" in capsys.readouterr().err


def test_instances_of_the_annotations_boxes(checkpoint, data, tmp_path):
    asked = ("instances", checkpoint, data, tmp_path / "out", "--boxes", "ground-truth", "--no-refine")
    assert run(*asked, "--allow-missing", "--limit", "1") == 0
    results = Results.read(tmp_path / "out")
    assert results.rows[0].metrics["AP"] == pytest.approx(100, abs=1e-9)
    assert (len(results.rows), results.rows[0].photos, results.rows[0].masks) == (2, 1, 2)


def test_detections_of_other_photos_are_refused(checkpoint, data, tmp_path, capsys):
    other = tmp_path / "other.json"
    other.write_text(json.dumps([{"image_id": 900, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]))
    assert run("instances", checkpoint, data, tmp_path / "out", "--boxes", str(other), "--allow-missing") == 0
    assert "1 detections on images that are not in the annotations left out" in capsys.readouterr().out


def test_proposals(checkpoint, data, tmp_path, capsys):
    assert run("proposals", checkpoint, data, tmp_path / "out", *GRID, "--allow-missing", "--write-proposals") == 0
    results = Results.read(tmp_path / "out")
    (row,) = results.rows
    assert (row.name, row.photos, row.masks) == ("three masks a point", 2, 4)
    assert list(row.metrics) == ["AR@1000", "ARs", "ARm", "ARl", "AR@10", "AR@100", "proposals"]
    assert row.metrics["ARl"] is None
    assert results.settings["points_per_side"] == 3
    assert results.settings["box_nms_threshold"] == 0.9
    written = [json.loads((tmp_path / "out" / "proposals" / f"{n}.json").read_text()) for n in (5, 6)]
    assert sum(map(len, written)) / 2 == row.metrics["proposals"]
    assert all(one["score"] >= other["score"] for of in written for one, other in itertools.pairwise(of))
    for name in ("ar.png", "worst.png", "table.txt"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    capsys.readouterr()
    assert run("proposals", checkpoint, data, tmp_path / "out", *GRID, "--allow-missing", "--resume") == 2
    assert "was begun with proposals written True" in capsys.readouterr().err


@pytest.mark.parametrize("protocol", ["instances", "proposals"])
def test_nothing_is_no_result(protocol, checkpoint, data, tmp_path, capsys):
    """Whatever the annotations: without a photo they are neither COCO's nor LVIS's."""
    content = json.loads((data / "annotations.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"lost/{image['id']}.jpg"
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    (tmp_path / "photos").symlink_to(data / "photos")
    boxes = ("--boxes", "ground-truth") if protocol == "instances" else GRID
    assert run(protocol, checkpoint, tmp_path, tmp_path / "out", *boxes, "--allow-missing") == 2
    said = capsys.readouterr()
    assert "has no photo with an annotation that can be used (3 images whose photo is missing)" in said.err
    assert not said.out
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.slow
def test_proposals_of_one_mask_a_point(checkpoint, data, tmp_path):
    asked = ("proposals", checkpoint, data, tmp_path / "out", *GRID, "--allow-missing", "--single-output")
    assert run(*asked, "--max-proposals", "5") == 0
    (row,) = Results.read(tmp_path / "out").rows
    assert row.name == "one mask a point"
    assert list(row.metrics) == ["AR@5", "ARs", "ARm", "ARl", "proposals"]
    assert row.metrics["proposals"] <= 5
