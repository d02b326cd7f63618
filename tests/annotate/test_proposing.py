"""Proposals of the model: what the generator finds, or a detector's boxes prompt."""

import argparse
import json
from io import BytesIO

import numpy as np
import pytest
from helpers.generators import micro_engine
from micro_annotator import jpeg_of
from PIL import Image

from samjax.annotate import proposing
from samjax.annotate.kept_answers import Answer
from samjax.annotate.photo_list import ListedPhoto
from samjax.annotate.proposal import ProposalState
from samjax.annotate.proposing import propose_from_boxes, propose_from_grid
from samjax.cli import propose as command
from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.data.masks import rle
from samjax.predict.automatic.generator import MaskGenerator
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.promptable.predictor import Predictor

SIZE = (48, 70)
ANY = GeneratorConfig(points_per_side=3, points_per_batch=9, pred_iou_threshold=0.0, stability_threshold=0.0)
BOXES = [(5.0, 4.0, 30.0, 33.0), (20.0, 10.0, 64.0, 44.0), (0.0, 0.0, 70.0, 48.0)]


@pytest.fixture(scope="module")
def engine():
    return micro_engine()


@pytest.fixture
def photo(tmp_path):
    return ListedPhoto(id=7, path=tmp_path / "a.jpg", width=SIZE[1], height=SIZE[0])


def test_the_grids_are_what_generate_finds(engine):
    generator = MaskGenerator(engine, ANY)
    found = propose_from_grid(generator, jpeg_of(SIZE))
    assert [one.number for one in found] == list(range(len(found)))
    assert [one.predicted_iou for one in found] == sorted((one.predicted_iou for one in found), reverse=True)
    (expected,) = generator.generate([np.asarray(Image.open(BytesIO(jpeg_of(SIZE))))])
    assert len(found) == len(expected) > 0
    assert {one.runs["counts"] for one in found} == {one.segmentation["counts"] for one in expected}
    by_runs = {one.segmentation["counts"]: one.annotation(1) for one in expected}
    assert all(list(one.bbox) == by_runs[one.runs["counts"]]["bbox"] for one in found)


def test_a_box_gives_the_predictors_best_candidate(engine, photo):
    """One mask a box; the mask is that of `samjax predict`, and its box fits it."""
    config = GeneratorConfig(pred_iou_threshold=0.0, stability_threshold=0.0, box_nms_threshold=1.0)
    found = propose_from_boxes(engine, photo, jpeg_of(SIZE), BOXES, config=config)
    predictor = Predictor(engine)
    predictor.set_image(np.asarray(Image.open(BytesIO(jpeg_of(SIZE)))))
    expected = {}
    for box in BOXES:
        answer = predictor.predict(boxes=[box])
        best = int(answer.iou[0].argmax())
        if answer.iou[0, best] > 0 and answer.masks[0, best].any():
            expected[rle.encode(answer.masks[0, best])["counts"]] = float(answer.iou[0, best])
    assert {one.runs["counts"]: pytest.approx(one.predicted_iou) for one in found} == expected
    for one in found:
        rows, columns = np.nonzero(rle.decode(one.runs["counts"], height=48, width=70))
        left, top, width, height = one.bbox
        assert (left, top, left + width, top + height) == (columns.min(), rows.min(), columns.max(), rows.max())


def test_the_thresholds_are_generates(engine, photo, monkeypatch):
    """Above the predicted IoU, from the stability on; of boxes that overlap the one of the highest IoU stays."""
    ious, stabilities = (0.89, 0.88, 0.95, 0.99, 0.97), (0.95, 0.99, 0.94, 0.95, 1.0)
    boxes = [(14.0 * k, 2.0, 14.0 * k + 12, 40.0) for k in range(4)]
    boxes.append((boxes[3][0] + 1, 2.0, boxes[3][2], 40.0))  # of the fourth's object

    class GivenPhoto:
        def __init__(self, *_, **__):
            pass

        def answer(self, request, previous):
            place = boxes.index(request.box)
            low = engine.config.logits_size
            y, x = np.mgrid[: low[0], : low[1]] * (64 / low[0]) * (70 / 64)
            left, top, right, bottom = request.box
            inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
            asked.append(place)
            logits = np.where(inside, 9.0, -9.0).astype(np.float32)[None]
            return Answer(photo_id=7, logits=logits, iou=np.array([ious[place]], np.float32))

    asked: list[int] = []
    monkeypatch.setattr(proposing, "ClickablePhoto", GivenPhoto)
    monkeypatch.setattr(proposing, "measure_stability", lambda *_, **__: np.array([stabilities[asked[-1]]]))
    found = propose_from_boxes(engine, photo, jpeg_of(SIZE), boxes, config=GeneratorConfig())
    assert [(round(one.predicted_iou, 2), one.stability_score) for one in found] == [(0.99, 0.95), (0.89, 0.95)]
    loose = GeneratorConfig(box_nms_threshold=1.0)
    assert len(propose_from_boxes(engine, photo, jpeg_of(SIZE), boxes, config=loose)) == 3
    assert propose_from_boxes(engine, photo, jpeg_of(SIZE), [], config=loose) == []


def test_a_box_that_comes_twice_counts_once(engine, photo):
    config = GeneratorConfig(pred_iou_threshold=0.0, stability_threshold=0.0, box_nms_threshold=0.7)
    once = propose_from_boxes(engine, photo, jpeg_of(SIZE), BOXES[:1], config=config)
    assert propose_from_boxes(engine, photo, jpeg_of(SIZE), BOXES[:1] * 2, config=config) == once
    assert len(once) == 1


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(("a", "b")):
        (folder / f"{name}.jpg").write_bytes(jpeg_of(SIZE, seed=seed))
    return folder


@pytest.fixture
def micro(monkeypatch, tmp_path, engine):
    """The command with the micro engine in place of a checkpoint's."""
    from samjax.checkpoint import weights
    from samjax.predict import engine as module

    monkeypatch.setattr(weights, "find_checkpoint", lambda path: tmp_path / "checkpoint")
    monkeypatch.setattr(module.Engine, "from_checkpoint", lambda *_, **__: engine)


def run(pictures, out, *options) -> int:
    loose = ["--pred-iou-threshold", "0", "--stability-threshold", "0", "--points-per-side", "3"]
    words = ["propose", "--checkpoint", "c", "--images", f"{pictures}/*.jpg", "--out", str(out)]
    return main([*words, *loose, *map(str, options)])


def proposals(pictures, out):
    from samjax.annotate.annotation_folder import open_annotations
    from samjax.annotate.photo_list import open_photos

    with open_annotations(out, open_photos([f"{pictures}/*.jpg"], out), {}) as folder:
        return {folder.photos[id].path.name: folder.proposals(id) for id in folder.photos}


def test_the_command_proposes_once_and_resumes(micro, pictures, tmp_path, capsys):
    assert run(pictures, tmp_path / "out") == 0
    found = proposals(pictures, tmp_path / "out")
    assert set(found) == {"a.jpg", "b.jpg"}
    assert all(one.state is ProposalState.OPEN for those in found.values() for one in those)
    assert sum(map(len, found.values())) > 0
    capsys.readouterr()
    assert run(pictures, tmp_path / "out") == 0
    assert "has proposals for 2 of 2 photos" in capsys.readouterr().out
    assert proposals(pictures, tmp_path / "out") == found


def coco(tmp_path, boxes, *, name="b.jpg"):
    """Write annotations without annotations, and a detector's results on their one photo."""
    images = [{"id": 31, "file_name": f"sub/{name}", "height": SIZE[0], "width": SIZE[1]}]
    (tmp_path / "images.json").write_text(
        json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "thing"}]})
    )
    results = [{"image_id": 31, "category_id": 1, "bbox": box, "score": score} for box, score in boxes]
    (tmp_path / "boxes.json").write_text(json.dumps(results))
    return "--detections", tmp_path / "boxes.json", "--annotations", tmp_path / "images.json"


def test_the_command_takes_a_detectors_boxes(micro, pictures, tmp_path):
    given = coco(tmp_path, [([20, 10, 44, 34], 0.9), ([5, 4, 25, 29], 0.8)])
    assert run(pictures, tmp_path / "out", *given) == 0
    found = proposals(pictures, tmp_path / "out")
    assert found["a.jpg"] == []
    assert 0 < len(found["b.jpg"]) <= 2


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda given, tmp: given[:2], "--detections and --annotations go together"),
        (lambda given, tmp: coco(tmp, [([5, 4, 0, 0], 0.8)]), "whose box has no area in its photo"),
        (lambda given, tmp: coco(tmp, [([5, 4, 9, 9], 0.8)], name="other.jpg"), "is among --images"),
    ],
)
def test_detections_that_do_not_fit_are_a_sentence(micro, pictures, tmp_path, capsys, change, sentence):
    given = change(coco(tmp_path, [([5, 4, 25, 29], 0.8)]), tmp_path)
    assert run(pictures, tmp_path / "out", *given) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out" / "annotate").exists()


def test_an_image_without_a_size_is_named(tmp_path):
    (tmp_path / "images.json").write_text(json.dumps({"images": [{"id": 1}], "annotations": [], "categories": []}))
    known = argparse.Namespace(annotations=str(tmp_path / "images.json"), detections="x", allow_missing=False)
    with pytest.raises(UserError, match="an image has no id, file_name, height and width"):
        command._boxes(known, {})
