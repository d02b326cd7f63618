"""Quick scores at one IoU, against pycocotools."""

import contextlib
import dataclasses
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from samjax.data.masks import rle
from samjax.scores.average_precision import ResultPart, average_precision
from samjax.scores.single_iou import IOU, MaskScore, PhotoOverlaps
from samjax.scores.truth import Truth

SIZE = (40, 50)


def rectangle(rng: np.random.Generator) -> dict:
    mask = np.zeros(SIZE, bool)
    top, left = rng.integers(0, 30, 2)
    height, width = rng.integers(3, 20, 2)
    mask[top : top + height, left : left + width] = True
    return rle.encode(mask)


def moved(rng: np.random.Generator, segmentation: dict) -> dict:
    mask = rle.decode(segmentation["counts"], height=SIZE[0], width=SIZE[1])
    return rle.encode(np.roll(mask, tuple(rng.integers(-2, 3, 2)), axis=(0, 1)))


def case(seed: int, *, photos: int = 4) -> tuple[dict, list[dict]]:
    """Return annotations of two categories with overlapping objects and crowds, and masks near them, many of equal
    scores."""
    rng = np.random.default_rng(seed)
    images = [{"id": n + 1, "height": SIZE[0], "width": SIZE[1]} for n in range(photos)]
    annotations, results = [], []
    for image in images:
        for _ in range(rng.integers(0, 9)):
            segmentation = rectangle(rng)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": int(rng.integers(1, 3)),
                    "iscrowd": int(rng.random() < 0.2),
                    "segmentation": segmentation,
                }
            )
            for _ in range(rng.integers(0, 4)):
                score = round(float(rng.random()), 1)
                near = moved(rng, segmentation)
                results.append({"image_id": image["id"], "category_id": 1, "segmentation": near, "score": score})
        results.append({"image_id": image["id"], "category_id": 1, "segmentation": rectangle(rng), "score": 0.95})
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def reference(truth: Truth, results: list[dict]) -> np.ndarray:
    """Return AP, AP50 and the rest as pycocotools computes them with `useCats` 0, of the annotations as they are."""
    with contextlib.redirect_stdout(io.StringIO()):
        index = COCO()
        index.dataset = {
            "images": list(truth.images.values()),
            "annotations": [dict(one) for one in truth.annotations],
            "categories": [{"id": number} for number in truth.frequencies],
        }
        index.createIndex()
        evaluation = COCOeval(index, index.loadRes([dict(one) for one in results]), "segm")
        evaluation.params.useCats = 0
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def quick(truth: Truth, results: list[dict]) -> MaskScore:
    verdicts, scores, objects = [], [], 0
    for photo in truth.images:
        those = [one for one in results if one["image_id"] == photo]
        overlaps = PhotoOverlaps.of([one["segmentation"] for one in those], truth.by_photo.get(photo, ()))
        score = np.array([one["score"] for one in those])
        order = np.argsort(-score, kind="stable")
        verdicts.append(overlaps.judge(order))
        scores.append(score[order])
        objects += overlaps.objects
    return MaskScore.of(verdicts, scores, objects=objects)


@pytest.mark.parametrize("seed", range(12))
def test_scores_are_pycocotools(seed):
    """Class-agnostic, with crowds, masks that overlap two objects, and equal scores."""
    content, results = case(seed)
    truth = Truth.of(content)
    stats = reference(truth, results)
    own = average_precision(truth.class_agnostic(), results, of=ResultPart.MASKS)
    assert [own[name] for name in ("AP", "AP50", "AP75")] == pytest.approx(stats[:3].tolist(), abs=1e-12)
    assert quick(truth.class_agnostic(), results).ap50 == pytest.approx(stats[1], abs=1e-12)


def test_of_equal_overlaps_the_last_object_is_taken():
    """As pycocotools does: the first object is then free for the second mask, which overlaps no other."""

    def columns(first: int, last: int) -> dict:
        mask = np.zeros(SIZE, bool)
        mask[:, first : last + 1] = True
        return rle.encode(mask)

    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "segmentation": columns(*ends)}
        for n, ends in enumerate(((3, 12), (5, 14)), 1)
    ]
    image = {"id": 1, "height": SIZE[0], "width": SIZE[1]}
    truth = Truth.of({"images": [image], "annotations": annotations, "categories": [{"id": 1}]})
    results = [
        {"image_id": 1, "category_id": 1, "segmentation": columns(*ends), "score": score}
        for ends, score in (((4, 13), 0.9), ((0, 9), 0.8))
    ]
    assert reference(truth, results)[1] == pytest.approx(1.0)
    assert quick(truth, results).recall == 1.0


def test_more_than_a_hundred_masks_count():
    """120 objects, each found: COCO's 100 a photo leave a sixth of them out."""
    objects = [np.zeros((40, 120), bool) for _ in range(120)]
    for column, mask in enumerate(objects):
        mask[3:, column] = True
    masks = [rle.encode(mask) for mask in objects]
    content = {
        "images": [{"id": 1, "height": 40, "width": 120}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "segmentation": one} for n, one in enumerate(masks, 1)
        ],
        "categories": [{"id": 1}],
    }
    truth = Truth.of(content).class_agnostic()
    results = [{"image_id": 1, "category_id": 1, "segmentation": one, "score": 0.5} for one in masks]
    cut = average_precision(truth, results, of=ResultPart.MASKS)["AP50"]
    assert cut is not None
    assert 0.8 < cut < 0.85
    assert average_precision(truth, results, of=ResultPart.MASKS, most=1000)["AP50"] == 1.0
    assert quick(truth, results) == MaskScore(ap50=1.0, f1=1.0, precision=1.0, recall=1.0, masks=120)


def test_figures_of_no_mask_and_of_doubles():
    """A second mask of an object is a false one; the threshold itself is enough."""
    half, whole = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    whole[:10, :10], half[:5, :10] = True, True
    content = {
        "images": [{"id": 1, "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": rle.encode(whole)}],
        "categories": [{"id": 1}],
    }
    truth = Truth.of(content).class_agnostic()
    assert quick(truth, []) == MaskScore(ap50=0.0, f1=0.0, precision=0.0, recall=0.0, masks=0)
    results = [{"image_id": 1, "segmentation": rle.encode(half), "score": score} for score in (0.9, 0.8)]
    assert IOU == 0.5
    expected = MaskScore(ap50=1.0, f1=2 / 3, precision=0.5, recall=1.0, masks=2)
    assert dataclasses.asdict(quick(truth, results)) == pytest.approx(dataclasses.asdict(expected), abs=1e-12)
