"""Average precision of masks and boxes, by COCO's library; LVIS's rules are brought to it as data."""

import enum
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64
from pycocotools import mask as coco
from pycocotools.cocoeval import COCOeval

from samjax.scores.truth import NO_SIZE, Truth, make_index, quiet

MOST_OF_LVIS = 300
"""Detections per photo that LVIS evaluates, those with the highest scores."""
MOST_OF_COCO = 100
"""Detections per photo and category that COCO evaluates."""

_THRESHOLDS, _RECALLS, _SIZES = 10, 101, 4
_AT_50, _AT_75 = 0, 5
_FREQUENCIES = {"APr": "r", "APc": "c", "APf": "f"}

Result = Mapping[str, Any]
"""A detection as COCO writes it: `image_id`, `category_id`, `score`, and `segmentation`, compressed run lengths, or
`bbox`, (x, y, width, height)."""


class ResultPart(enum.Enum):
    """What of detections is compared with the truth; its size counts as theirs."""

    MASKS = "segm"
    BOXES = "bbox"


def average_precision(
    truth: Truth, results: Sequence[Result], *, of: ResultPart, most: int | None = None
) -> dict[str, float | None]:
    """Return AP, AP50, AP75, APs, APm and APl of `results`, from 0 to 1; of LVIS APr, APc and APf too.

    Equal to pycocotools' figures, and to those of LVIS's package where `truth` is federated. There, detections of a
    category that its photo was not searched for are left out, and those without an area. Where a photo was not
    searched for all of a category's objects, detections that match none are not held against a model. An average over
    no category is None.

    Args:
      results: of photos and categories that `truth` has.
      most: detections of a photo and category that count, those with the highest scores; COCO's 100 if not given.
        LVIS's rules have their own number.
    """
    most = MOST_OF_LVIS if truth.federated else most or MOST_OF_COCO
    kept = _as_lvis(truth, results, of=of) if truth.federated else [(one, _size(one, of)) for one in results]
    detections, objects = defaultdict(list), defaultdict(list)
    for number, (result, area) in enumerate(kept, 1):
        detections[result["category_id"]].append(_detection(result, id=number, area=area, of=of))
    for annotation in truth.annotations:
        objects[annotation["category_id"]].append(annotation)
    categories = sorted(truth.frequencies)
    precision = np.full((_THRESHOLDS, _RECALLS, len(categories), _SIZES), -1.0)
    with quiet():
        for place, category in enumerate(categories):
            if objects[category]:
                precision[:, :, place] = _precision(truth, objects[category], detections[category], of=of, most=most)
    found = {"AP": precision[..., 0], "AP50": precision[_AT_50, ..., 0], "AP75": precision[_AT_75, ..., 0]}
    found |= {name: precision[..., size] for size, name in enumerate(("APs", "APm", "APl"), 1)}
    if truth.federated:
        for name, frequency in _FREQUENCIES.items():
            those = [place for place, category in enumerate(categories) if truth.frequencies[category] == frequency]
            found[name] = precision[:, :, those, 0]
    return {name: _mean(values) for name, values in found.items()}


def _mean(values: Float64[np.ndarray, "*_"]) -> float | None:
    there = values[values > -1]
    return float(np.mean(there)) if there.size else None


def _size(result: Result, of: ResultPart) -> float:
    if of is ResultPart.MASKS:
        return float(coco.area(result["segmentation"]))
    return float(result["bbox"][2] * result["bbox"][3])


def _as_lvis(truth: Truth, results: Sequence[Result], *, of: ResultPart) -> list[tuple[Result, float]]:
    """Return the results that LVIS looks at, with the area that they count as."""
    of_photo = defaultdict(list)
    for result in results:
        of_photo[result["image_id"]].append(result)
    present = defaultdict(set)
    for annotation in truth.annotations:
        present[annotation["image_id"]].add(annotation["category_id"])
    kept = []
    for photo, those in of_photo.items():
        image = truth.images[photo]
        searched = present[photo].union(image.get("neg_category_ids", ()))
        in_part = set(image.get("not_exhaustive_category_ids", ()))
        if len(those) > MOST_OF_LVIS:
            those = sorted(those, key=lambda result: -result["score"])[:MOST_OF_LVIS]
        for one in those:
            size = _size(one, of)
            if one["category_id"] in searched and size > 0:
                kept.append((one, NO_SIZE if one["category_id"] in in_part else size))
    return kept


def _detection(result: Result, *, id: int, area: float, of: ResultPart) -> dict[str, Any]:
    compared = {ResultPart.MASKS: "segmentation", ResultPart.BOXES: "bbox"}[of]
    return {
        "id": id,
        "image_id": result["image_id"],
        "score": result["score"],
        "iscrowd": 0,
        "area": area,
        compared: result[compared],
    }


def _precision(
    truth: Truth,
    objects: Sequence[Mapping[str, Any]],
    detections: Sequence[Mapping[str, Any]],
    *,
    of: ResultPart,
    most: int,
) -> Float64[np.ndarray, "t r a"]:
    """Return a category's precision at each threshold of IoU and recall, for each size; -1 where there is no object."""
    photos = {one["image_id"]: truth.images[one["image_id"]] for one in (*objects, *detections)}
    evaluation = COCOeval(make_index(objects, photos), make_index(detections, photos), of.value)
    evaluation.params.maxDets = [most]  # type: ignore[assignment]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0, :, 0]
