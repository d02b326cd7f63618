"""The search for thresholds: one at a time, over candidates that are decoded, without the model."""

import dataclasses
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from samjax.eval.tuning.photo_candidates import PhotoCandidates
from samjax.predict.automatic.conclusion import clean
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.replay import choose
from samjax.scores.single_iou import MaskScore, PhotoOverlaps
from samjax.scores.truth import Truth

Metric = Literal["ap50", "f1"]

SLACK = 0.01
"""Share of AP50 that is given up for fewer false masks. A false mask at the end of the ranking costs no AP, so that the
highest AP50 keeps nearly all of them."""
_STEPS: Mapping[str, tuple[float, ...]] = {
    "stability_threshold": (0.0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.95, 0.97),
    "box_nms_threshold": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "crop_nms_threshold": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "pred_iou_threshold": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.95),
}
_AREAS = (0, 10, 30, 100)
_ROUNDS = 4


class Search:
    """Scores settings on the candidates of some photos by one grid, each once, and remembers them.

    Args:
      photos: candidates by the grid of all configs that are scored.
      truth: class-agnostic.
      base: settings that are not searched.
      fixed: fields that stay as `base` has them.
    """

    def __init__(
        self, photos: Sequence[PhotoCandidates], truth: Truth, base: GeneratorConfig, *, fixed: Collection[str]
    ):
        self._photos, self._truth = photos, truth
        self._objects = sum(photo.overlaps.objects for photo in photos)
        self._steps = {
            name: steps
            for name, steps in {"max_area_fraction": _largest(photos, truth), **_STEPS}.items()
            if name not in fixed and (base.crop_layers or name != "crop_nms_threshold")
        }
        self._clean = "min_region_area" not in fixed
        loose = {"pred_iou_threshold": 0.0, "stability_threshold": 0.0, "max_area_fraction": 1.0}
        start = {name: value for name, value in loose.items() if name not in fixed}
        self.base = dataclasses.replace(base, **start, **({"min_region_area": 0} if self._clean else {}))
        """Where the search starts: without filters, suppression as given."""
        self.scores: dict[GeneratorConfig, MaskScore] = {}
        """Of all settings that were tried."""

    def best(self, metric: Metric) -> GeneratorConfig:
        """Return the settings that are best by `metric`.

        By AP50: those with the highest F1 of all whose AP50 is within `SLACK` of the highest.
        """
        if metric == "f1":
            return self._climb(self.base, lambda score: score.f1)
        highest = self._climb(self.base, lambda score: score.ap50)
        least = (1 - SLACK) * self.score(highest).ap50
        return self._climb(highest, lambda score: score.f1 if score.ap50 >= least else -1.0)

    def best_with_specks(self, config: GeneratorConfig, metric: Metric) -> GeneratorConfig:
        """Return `config` with the `min_region_area` of the highest F1 that costs no AP50, where that is the metric.

        Tried are areas of up to half the median object's.
        """
        if not self._clean:
            return config
        areas = [one["area"] for photo in self._photos for one in self._truth.by_photo.get(photo.photo, ())]
        tries = [area for area in _AREAS if area <= 0.5 * float(np.median(areas))] or [0]
        configs = [dataclasses.replace(config, min_region_area=area) for area in tries]
        least = self.score(config).ap50 if metric == "ap50" else 0.0
        those = [one for one in configs if self.score(one).ap50 >= least]
        return max(those or [config], key=lambda one: self.score(one).f1)  # of equal ones the first

    def score(self, config: GeneratorConfig) -> MaskScore:
        """Return how well the settings do on all photos."""
        if config not in self.scores:
            verdicts, ious = [], []
            for photo in self._photos:
                verdict, iou = self._judge(photo, config)
                verdicts.append(verdict)
                ious.append(iou)
            self.scores[config] = MaskScore.of(verdicts, ious, objects=self._objects)
        return self.scores[config]

    def _judge(self, photo: PhotoCandidates, config: GeneratorConfig) -> tuple[np.ndarray, np.ndarray]:
        """Return the verdict on each mask of a photo and its predicted IoU, by descending predicted IoU."""
        places = choose(photo.candidates, config)
        if config.min_region_area:
            masks = clean(photo.candidates.masks(places), config)
            masks.sort(key=lambda mask: -mask.predicted_iou)
            objects = self._truth.by_photo.get(photo.photo, ())
            overlaps = PhotoOverlaps.of([mask.segmentation for mask in masks], objects)
            return overlaps.judge(np.arange(len(masks))), np.array([mask.predicted_iou for mask in masks])
        iou = photo.candidates.iou[places]
        order = np.argsort(-iou, kind="stable")
        return photo.overlaps.judge(places[order]), iou[order].astype(np.float64)

    def _climb(self, config: GeneratorConfig, value: Callable[[MaskScore], float]) -> GeneratorConfig:
        """Set each field in turn to what is best with the others as they are, until no change is better."""
        best = value(self.score(config))
        for _ in range(_ROUNDS):
            before = config
            for name, steps in self._steps.items():
                for step in steps:
                    other: Any = dataclasses.replace(config, **{name: step})
                    if (reached := value(self.score(other))) > best:
                        config, best = other, reached
            if config == before:
                break
        return config


def _largest(photos: Sequence[PhotoCandidates], truth: Truth) -> tuple[float, ...]:
    """Return shares of a photo to try as the largest of a mask: all, and 1.5 and 3 times the largest object's."""
    shares = [
        one["area"] / (photo.candidates.size[0] * photo.candidates.size[1])
        for photo in photos
        for one in truth.by_photo.get(photo.photo, ())
        if not one["iscrowd"] and one["area"] > 0
    ]
    largest = max(shares, default=1.0)
    return tuple(sorted({min(1.0, _rounded_up(times * largest)) for times in (1.5, 3.0)} | {1.0}))


def _rounded_up(share: float) -> float:
    """Return a share above 0 in two digits, not less than it is."""
    unit = 10.0 ** (math.floor(math.log10(share)) - 1)
    return round(math.ceil(share / unit - 1e-9) * unit, 12)
