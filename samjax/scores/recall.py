"""Average recall of proposals, class-agnostic, by COCO's library: photo by photo, so that no more need be held."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from pycocotools import mask as coco
from pycocotools.cocoeval import COCOeval

from samjax.scores.truth import Truth, make_index, quiet

_SIZES = ("all", "small", "medium", "large")
_FREQUENCIES = {"f": "frequent", "c": "common", "r": "rare"}
_THRESHOLDS = 10
_LEAST_IOU = 0.5
"""Of all thresholds. A proposal that overlaps no object this much matches none, and does not change what others do."""


@dataclass(frozen=True, kw_only=True)
class PhotoMatches:
    """How many of a photo's objects proposals match, by group: sizes, and of LVIS frequencies of the category."""

    objects: Mapping[str, int]
    """Crowds and ignored objects are none."""
    matched: Mapping[str, Mapping[str, Sequence[int]]]
    """By group and most proposals, as text: at each threshold of IoU from .50 to .95."""
    best: Sequence[tuple[int, float, int | None]]
    """Of each object that is no crowd: its place in `Truth.by_photo`, the highest IoU that a proposal has with it, and
    that proposal's place by rank; None if there is none."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "PhotoMatches":
        """Return what `to_json` wrote."""
        return cls(objects=said["objects"], matched=said["matched"], best=[tuple(one) for one in said["best"]])


def match_photo(
    truth: Truth, photo: int, ranked: Sequence[Mapping[str, Any]], *, limits: Sequence[int]
) -> PhotoMatches:
    """Return what the best `limits` proposals of a photo match, each number on its own.

    Args:
      ranked: masks, as compressed run lengths of the photo's size, the best first.
      limits: most proposals, ascending.
    """
    objects = truth.by_photo.get(photo, ())
    ranked = ranked[: limits[-1]]
    groups = {"all": objects}
    if truth.federated:
        groups |= {
            name: [one for one in objects if truth.frequencies[one["category_id"]] == frequency]
            for frequency, name in _FREQUENCIES.items()
        }
    overlaps = _overlaps(ranked, objects)
    near = np.flatnonzero((overlaps >= _LEAST_IOU).any(axis=1))
    found: dict[str, _Counted] = {}
    for name, those in groups.items():
        counted = _count(truth, photo, those, [ranked[int(place)] for place in near], near, limits)
        found |= counted if name == "all" else {name: counted["all"]}
    best = [(place, *_best(overlaps[:, place])) for place, one in enumerate(objects) if not one["iscrowd"]]
    return PhotoMatches(
        objects={name: one.objects for name, one in found.items()},
        matched={name: one.matched for name, one in found.items()},
        best=best,
    )


def average_recall(photos: Iterable[PhotoMatches]) -> dict[str, dict[int, float | None]]:
    """Return AR by group and most proposals, from 0 to 1: the mean over thresholds; None for a group of no object.

    Equal to that of pycocotools with `useCats` 0 on all photos at once, and the objects of a group alone.
    """
    objects: dict[str, int] = {}
    matched: dict[str, dict[str, Int64[np.ndarray, "t"]]] = {}
    for photo in photos:
        for group, count in photo.objects.items():
            objects[group] = objects.get(group, 0) + count
            sums = matched.setdefault(group, {})
            for limit, counts in photo.matched[group].items():
                sums[limit] = sums.get(limit, np.zeros(_THRESHOLDS, np.int64)) + np.array(counts)
    return {
        group: {
            int(limit): float(np.mean(counts / objects[group])) if objects[group] else None
            for limit, counts in of_group.items()
        }
        for group, of_group in matched.items()
    }


@dataclass(frozen=True, kw_only=True)
class _Counted:
    objects: int
    matched: dict[str, list[int]]


def _overlaps(ranked: Sequence[Mapping[str, Any]], objects: Sequence[Mapping[str, Any]]) -> Float64[np.ndarray, "n m"]:
    if not ranked or not objects:
        return np.zeros((len(ranked), len(objects)))
    crowds = [one["iscrowd"] for one in objects]
    return np.asarray(coco.iou(list(ranked), [one["segmentation"] for one in objects], crowds))  # type: ignore[arg-type]


def _best(overlaps: Float64[np.ndarray, "n"]) -> tuple[float, int | None]:
    if not overlaps.size:
        return 0.0, None
    place = int(np.argmax(overlaps))
    return float(overlaps[place]), place


def _count(
    truth: Truth,
    photo: int,
    objects: Sequence[Mapping[str, Any]],
    near: Sequence[Mapping[str, Any]],
    ranks: Int64[np.ndarray, "n"],
    limits: Sequence[int],
) -> dict[str, _Counted]:
    """Return, by size, the objects and how many of them are matched by proposals whose rank is below each limit."""
    if not objects:
        nothing = {str(limit): [0] * _THRESHOLDS for limit in limits}
        return {size: _Counted(objects=0, matched=nothing) for size in _SIZES}
    images = {photo: truth.images[photo]}
    proposals = [
        {"id": n, "image_id": photo, "score": -n, "iscrowd": 0, "segmentation": one, "area": coco.area(one)}  # type: ignore[arg-type]
        for n, one in enumerate(near, 1)
    ]
    with quiet():
        by_category = sorted(objects, key=lambda one: one["category_id"])  # where two overlap a proposal equally
        evaluation = COCOeval(make_index(by_category, images), make_index(proposals, images), "segm")
        evaluation.params.maxDets = [limits[-1]]  # type: ignore[assignment]
        evaluation.params.useCats = 0
        evaluation.evaluate()
    found = {}
    for size, one in zip(_SIZES, evaluation.evalImgs, strict=True):
        hit = (one["dtMatches"] > 0) & ~one["dtIgnore"].astype(bool)
        found[size] = _Counted(
            objects=int(np.count_nonzero(one["gtIgnore"] == 0)),
            matched={str(limit): hit[:, ranks < limit].sum(axis=1).tolist() for limit in limits},
        )
    return found
