"""`samjax evaluate masks` as it is typed: masks of any program, and those of `samjax generate`."""

import contextlib
import csv
import io
import json

import numpy as np
import pytest
from helpers.made_annotations import CATEGORY, rectangles, write_formats
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from samjax.cli.main import main
from samjax.data.masks import rle
from samjax.eval.results import Results

SIZE = (24, 32)
NAMES = ("x/a.png", "x/b.png", "y/a.png")
MASKS = (
    rectangles((2, 3, 14, 20), (15, 22, 22, 30), (14, 2, 22, 12)),
    rectangles((1, 1, 9, 12)),
    rectangles((3, 5, 20, 25), (4, 26, 12, 31)),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_formats(folder, dict(zip(NAMES, MASKS, strict=True)), size=SIZE)
    return folder


def near(seed: int = 0) -> list[dict]:
    """Return a program's masks of the objects, moved, some twice, of a category that is unknown."""
    draw = np.random.default_rng(seed)
    results = []
    for number, masks in enumerate(MASKS, 1):
        for mask in masks:
            for _ in range(draw.integers(1, 4)):
                moved = np.roll(mask, tuple(draw.integers(-2, 3, 2)), axis=(0, 1))
                score = round(float(draw.random()), 2)
                results.append(
                    {"image_id": number, "category_id": 9, "segmentation": rle.encode(moved), "score": score}
                )
    return results


def run(data, predictions, out, *options: str) -> int:
    given = ["--annotations", str(data / "coco.json"), "--images", str(data / "images")]
    return main(["evaluate", "masks", "--predictions", str(predictions), *given, "--out", str(out), *options])


def test_figures_are_pycocotools(data, tmp_path, capsys):
    results = near()
    (tmp_path / "masks.json").write_text(json.dumps(results))
    assert run(data, tmp_path / "masks.json", tmp_path / "out") == 0
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(data / "coco.json"))
        for one in truth.dataset["annotations"]:
            one.update(iscrowd=0, area=float(MASKS[one["image_id"] - 1][0].size))
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([{**one, "category_id": CATEGORY} for one in results]), "segm")
        evaluation.params.useCats = 0
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    best, every = Results.read(tmp_path / "out").rows
    assert [best.metrics[name] for name in ("AP", "AP50", "AP75")] == pytest.approx(
        (100 * evaluation.stats[:3]).tolist()
    )
    assert [every.metrics[name] for name in best.metrics] == list(best.metrics.values())
    hits = evaluation.evalImgs[: len(MASKS)]
    found = sum(int((one["dtMatches"][0] > 0).sum()) for one in hits)
    assert every.metrics["precision@50"] == pytest.approx(100 * found / len(results))
    assert every.metrics["recall@50"] == pytest.approx(100 * found / 6)
    assert every.metrics["F1@50"] == pytest.approx(200 * found / (len(results) + 6))
    assert (best.photos, best.masks) == (3, 6)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "photos.csv").read_text())))
    assert [(row["photo"], row["objects"]) for row in rows] == [("a.png", "3"), ("b.png", "1"), ("a.png", "2")]
    assert sum(int(row["hits"]) for row in rows) == found
    for name in ("ap.png", "worst.png", "table.txt"):
        assert (tmp_path / "out" / name).stat().st_size > 0
    said = capsys.readouterr().out
    assert run(data, tmp_path / "masks.json", tmp_path / "out", "--resume") == 0
    assert capsys.readouterr().out == said


def generated(folder, sources: dict[str, int]) -> None:
    """Write files as `samjax generate` does, of the photos at `sources`, each with the masks of a photo of NAMES."""
    folder.mkdir()
    for number, (source, photo) in enumerate(sources.items()):
        masks = [{"segmentation": rle.encode(mask), "predicted_iou": 0.9} for mask in MASKS[photo]]
        content = {"image": {"image_id": number, "source": source}, "annotations": masks}
        (folder / f"sa_{number}.json").write_text(json.dumps(content))


def test_masks_of_generate_are_found_by_their_photos(data, tmp_path, capsys):
    """Two photos have one name: the folder decides."""
    generated(tmp_path / "masks", {f"/other/place/{name}": place for place, name in enumerate(NAMES)})
    assert run(data, tmp_path / "masks", tmp_path / "out") == 0
    _, every = Results.read(tmp_path / "out").rows
    assert every.metrics["AP"] == pytest.approx(100)
    assert every.metrics["F1@50"] == 100
    generated(tmp_path / "some", {"x/b.png": 1, "lost.png": 0, "a.png": 0})
    assert run(data, tmp_path / "some", tmp_path / "new") == 2
    said = capsys.readouterr().err
    assert "1 files whose photo is not in the annotations (sa_1.json: lost.png)" in said
    assert "1 files whose photo may be one of several (sa_2.json: a.png)" in said
    assert "2 photos that masks were not generated for (a.png, a.png)" in said
    assert run(data, tmp_path / "some", tmp_path / "new", "--resume", "--allow-missing") == 0
    _, every = Results.read(tmp_path / "new").rows
    assert (every.photos, every.masks, every.metrics["recall@50"]) == (1, 1, 100)


def test_bad_masks_are_all_told(data, tmp_path, capsys):
    """In one sentence; with --allow-missing they are left out and counted."""
    first, *rest = near()
    changes = (
        {"image_id": 9},
        {"image_id": "1"},
        {"score": None},
        {"segmentation": {"size": [3, 3], "counts": "09"}},
        {"segmentation": None},
    )
    (tmp_path / "masks.json").write_text(json.dumps([*({**first, **change} for change in changes), *rest]))
    assert run(data, tmp_path / "masks.json", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "2 masks on images that are not in the annotations (number 0: image_id 9, number 1: image_id '1')" in said
    assert "1 masks whose score is no number (number 2: None)" in said
    assert "2 masks that cannot be used (number 3: its size is [3, 3], the image's [24, 32]" in said
    assert run(data, tmp_path / "masks.json", tmp_path / "out", "--resume", "--allow-missing") == 0
    assert "2 masks that cannot be used left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "says"), [("{}", "is no list of masks"), ("", "is not JSON"), (None, "no such file")]
)
def test_other_files_are_no_masks(content, says, data, tmp_path, capsys):
    if content is not None:
        (tmp_path / "masks.json").write_text(content)
    assert run(data, tmp_path / "masks.json", tmp_path / "out") == 2
    assert says in capsys.readouterr().err


def test_a_folder_without_masks(data, tmp_path, capsys):
    assert run(data, data / "images", tmp_path / "out") == 2
    assert "holds no sa_*.json" in capsys.readouterr().err


def test_no_mask_at_all_is_a_figure(data, tmp_path):
    """A program that finds nothing scores 0, and photos that it does not list count."""
    (tmp_path / "masks.json").write_text("[]")
    assert run(data, tmp_path / "masks.json", tmp_path / "out") == 0
    _, every = Results.read(tmp_path / "out").rows
    assert (every.photos, every.metrics["AP"], every.metrics["recall@50"], every.metrics["masks per photo"]) == (
        3,
        0,
        0,
        0,
    )
    with Image.open(tmp_path / "out" / "worst.png") as sheet:
        assert sheet.width > 100
