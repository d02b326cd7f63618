"""Depth as a stranger types it: prepare, train, segment, evaluate and compare."""

import csv
import json

import numpy as np
import pytest
from helpers.depth_scenes import write_depth_scenes
from helpers.tiny_dense import save_dense, tiny_depth
from PIL import Image

from samjax.cli import evaluate_depth
from samjax.cli.main import main
from samjax.predict.semantic.depth_predictor import DepthPredictor
from samjax.scores.depth_errors import DepthCrop, DepthProtocol, aligned_depth, depth_errors, mean_errors

EXPERIMENT = """
from samjax.data.depth_data import DepthDataConfig
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.dpt import DptDepthConfig
from samjax.models.vit.dpt_vit import DptVitConfig
from samjax.tasks.depth import DepthTraining


def config():
    encoder = DptVitConfig(width=8, depth=4, heads=2, taps=(0, 1, 2, 3), table_size=(64, 64))
    model = DenseConfig(
        image_size=(64, 64), classes=1, encoder=encoder, dtype="float32",
        head=DptDepthConfig(width=8, map_widths=(4, 4, 4, 4), hidden=4),
    )
    return DepthTraining(model=model, data=DepthDataConfig(source=""), steps=2, batch_size=8, log_every=1)
"""


def command(*words) -> int:
    return main([str(word) for word in words])


def prepare(folder, out, *options) -> int:
    given = ("--annotations", folder / "depth", "--images", folder / "photos", "--depth-scale", 1000, "--out", out)
    return command("data", "prepare", "--format", "depth", *given, "--workers", 1, *options)


def evaluate(checkpoint, records, out, *options) -> int:
    return command("evaluate", "depth", "--checkpoint", checkpoint, "--data", records, "--out", out, *options)


def test_crops_of_the_command_are_the_scores():
    assert set(evaluate_depth._CROPS) == {crop.value for crop in DepthCrop}


@pytest.mark.parametrize("options", [("--align", "none"), ("--calibration", "nyu")])
def test_metres_without_alignment_need_a_calibration(options, tmp_path, capsys):
    assert evaluate("x", "y", tmp_path / "out", *options) == 2
    assert "--align none needs --calibration, nyu or kitti" in capsys.readouterr().err


@pytest.mark.slow
def test_from_photos_to_scores(tmp_path, capsys):
    folder = write_depth_scenes(tmp_path, photos=16)
    records, workdir = tmp_path / "records", tmp_path / "run"
    assert prepare(folder, records, "--holdout", 0.3) == 0
    (tmp_path / "tiny.py").write_text(EXPERIMENT)
    sources = ("--data.source", records, "--validation.source", records, "--validation.batch-size", 8)
    assert command("train", tmp_path / "tiny.py", *sources, "--workdir", workdir) == 0
    assert "abs_rel" in capsys.readouterr().out
    photos = ("--images", folder / "photos" / "*.png")
    assert command("segment", "--checkpoint", workdir, *photos, "--out", tmp_path / "labels") == 0
    assert len(list((tmp_path / "labels" / "labels").iterdir())) == 16
    assert evaluate(workdir, records, tmp_path / "scores") == 0
    assert "AbsRel" in capsys.readouterr().out


@pytest.mark.slow
def test_scores_are_those_of_each_photo_aligned(tmp_path, capsys):
    """At the photos' resolution; a kill resumes to the same numbers, and another alignment is another evaluation."""
    folder = write_depth_scenes(tmp_path, photos=3, size=(70, 100))
    with Image.open(folder / "depth" / "1.png") as picture:
        values = np.asarray(picture).copy()
    values[:40] = 0
    Image.fromarray(values).save(folder / "depth" / "1.png")
    Image.fromarray(np.full((70, 100), 60_000, np.uint16)).save(folder / "depth" / "2.png")  # beyond what is scored
    records, checkpoint, out = tmp_path / "records", save_dense(tiny_depth(), tmp_path / "weights"), tmp_path / "scores"
    assert prepare(folder, records, "--split", "val") == 0
    assert evaluate(checkpoint, records, out, "--farthest", 9) == 0
    assert "all of val: 1 photos without a pixel that is scored left out" in capsys.readouterr().out
    predictor, protocol, errors = DepthPredictor.from_checkpoint(checkpoint), DepthProtocol(farthest=9.0), []
    for number in (0, 1):
        truth = np.asarray(Image.open(folder / "depth" / f"{number}.png")) / np.float32(1000)
        inverse = predictor.predict(folder / "photos" / f"{number}.png")
        errors.append(depth_errors(aligned_depth(inverse, truth, protocol), truth, protocol))
    results = json.loads((out / "results.json").read_text())
    (row,) = results["rows"]
    assert row["photos"] == 2
    for name, field in {"AbsRel": "abs_rel", "RMSE": "rmse", "delta1": "delta1", "log10": "log10"}.items():
        assert row["metrics"][name] == pytest.approx(getattr(mean_errors(errors), field), rel=1e-5), name
    lines = list(csv.DictReader((out / "photos.csv").read_text().splitlines()))
    assert [line["photo"] for line in lines] == ["0.png", "1.png", "2.png"]
    assert float(lines[1]["AbsRel"]) == pytest.approx(errors[1].abs_rel, rel=1e-4)
    assert lines[2]["AbsRel"] == ""
    assert (out / "worst.png").exists()

    kept = (out / "photos.jsonl").read_text().splitlines(keepends=True)
    (out / "photos.jsonl").write_text(kept[0])  # as a kill leaves it
    before = (out / "results.json").read_text()
    assert evaluate(checkpoint, records, out, "--farthest", 9, "--resume") == 0
    assert (out / "results.json").read_text() == before
    assert evaluate(checkpoint, records, out, "--farthest", 9, "--align", "median", "--resume") == 2
    assert "was begun with" in capsys.readouterr().err
    calibrated = ("--align", "none", "--calibration", "nyu", "--farthest", 9)
    assert evaluate(checkpoint, records, tmp_path / "nyu", *calibrated) == 0
    assert command("evaluate", "compare", out, tmp_path / "nyu", "--plot", tmp_path / "both.png") == 0
    assert "align: A scale-shift, B none" in capsys.readouterr().out

    assert evaluate(checkpoint, records, tmp_path / "cut", "--crop", "eigen-nyu") == 2
    assert "cannot be cropped as NYU Depth v2's" in capsys.readouterr().err
