"""Selects the masks of a photo to train on (Segment Anything, appendix A: at most 64, none over 90% of the image)."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from samjax.data.masks import rle
from samjax.data.masks.resample import MaskGrid
from samjax.data.records.masks import Annotation


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskRules:
    """Which masks can be used. Shares are of the photo, areas in its pixels, and a mask at a bound is kept.

    The scores are the data engine's own estimates and can lie outside 0 to 1; a bound of 0 excludes nothing.
    """

    max_area_fraction: float = 0.9
    min_area_fraction: float = 0.0
    min_area: int = 0
    min_predicted_iou: float = 0.0
    min_stability_score: float = 0.0


class Omissions(NamedTuple):
    """Counts of a photo's unused masks, each under the first reason that applies."""

    too_large: int = 0
    """Cover too much of the photo."""
    too_small: int = 0
    """Cover too little of it."""
    low_predicted_iou: int = 0
    low_stability: int = 0
    empty: int = 0
    """Without a pixel in the model's frame; only those met while sampling."""

    def __str__(self) -> str:
        return (
            f"{self.too_large} too large, {self.too_small} too small, {self.low_predicted_iou} below the predicted IoU "
            f"bound, {self.low_stability} below the stability bound, {self.empty} empty in the model's frame"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawnMasks:
    """The selected masks, packed, and how many could not be used."""

    masks: UInt8[np.ndarray, "drawn h packed_w"]
    left_out: Omissions


def draw_masks(
    annotations: Sequence[Annotation],
    rng: np.random.Generator,
    *,
    size: tuple[int, int],
    grid: MaskGrid,
    rules: MaskRules,
    max_masks: int,
) -> DrawnMasks:
    """Return at most `max_masks` masks of a photo, drawn uniformly without replacement from those that can be used.

    Masks are visited in random order and resampled until enough are found, so most of a photo's masks are only
    measured; skipping empty ones on the way keeps the selection uniform over the others.

    Args:
      annotations: the photo's masks, all of which are checked.
      rng: randomness of this draw.
      size: (height, width) of the photo.
      grid: where in the photo the model's pixels are.
      rules: which masks can be used.
      max_masks: most masks to return.

    Raises:
      RleError: one of `annotations`, drawn or not, is no mask.
    """
    height, width = size
    codes = rle.join([annotation.counts for annotation in annotations])
    areas = rle.measure(codes, height=height, width=width)
    share = areas / (height * width)
    reasons = (
        share > rules.max_area_fraction,
        (share < rules.min_area_fraction) | (areas < rules.min_area),
        _below([one.predicted_iou for one in annotations], rules.min_predicted_iou),
        _below([one.stability_score for one in annotations], rules.min_stability_score),
    )
    usable = np.ones(len(annotations), bool)
    counts = []
    for reason in reasons:
        counts.append(int(np.count_nonzero(reason & usable)))
        usable &= ~reason
    painted = grid.paint(codes, rng.permutation(np.flatnonzero(usable)), most=max_masks)
    return DrawnMasks(masks=painted.masks, left_out=Omissions(*counts, empty=painted.empty))


def _below(scores: list[float], bound: float) -> Bool[np.ndarray, "masks"]:
    """A bound of 0 excludes nothing, whatever the scores; otherwise NaN counts as below it."""
    return ~(np.array(scores, float) >= bound) & (bound > 0)
