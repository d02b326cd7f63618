"""Panoptic quality (Kirillov et al. 2019): how well segments are found, and how well they fit, over a set of photos.

The rules are those of the public evaluation of COCO and Cityscapes: a segment matches one of its own class at an IoU
above a half, from whose union pixels without truth are taken; a false positive that lies by more than half in such
pixels, or in a crowd of its class, does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64

from samjax.core.batches import NO_SEGMENT


@dataclass(frozen=True, kw_only=True)
class QualityOfClasses:
    """Panoptic quality, and the two that it is the product of; means over classes that are there or were found."""

    pq: float
    sq: float
    """Segmentation quality: the mean IoU of matches."""
    rq: float
    """Recognition quality: matches among all, F1."""
    classes: int
    """How many classes the means are over."""


class PanopticCounter:
    """Counts matches over photos, by class."""

    def __init__(self, classes: int):
        self.matches, self.false_positives, self.missed = (np.zeros(classes, np.int64) for _ in range(3))
        self.iou: Float64[np.ndarray, "classes"] = np.zeros(classes)
        """The sum over matches."""

    def add(
        self,
        truth: Int[np.ndarray, "h w"],
        truth_classes: Sequence[int],
        found: Int[np.ndarray, "h w"],
        found_classes: Sequence[int],
        *,
        crowds: Sequence[bool] | None = None,
    ) -> None:
        """Count one photo.

        Args:
          truth: which segment each pixel belongs to, from 0, or `NO_SEGMENT`.
          truth_classes: the class of each.
          found: as `truth`; pixels of none are counted nowhere.
          found_classes: the class of each segment that was found, each with at least one pixel.
          crowds: which segments of the truth are crowds; None means that none is.
        """
        both = _overlaps(truth, len(truth_classes), found, len(found_classes))
        own, theirs = np.asarray(found_classes, int), np.asarray(truth_classes, int)
        is_crowd = np.zeros(len(theirs), bool) if crowds is None else np.asarray(crowds, bool)
        areas, true_areas = both[:, 1:].sum(axis=0), both[1:].sum(axis=1)
        void, overlap = both[0, 1:], both[1:, 1:]
        union = areas[None] + true_areas[:, None] - overlap - void[None]
        same = (theirs[:, None] == own[None]) & ~is_crowd[:, None]
        iou = np.where(same, overlap / np.maximum(union, 1), 0.0)
        matched = iou > 0.5
        for row, column in zip(*np.nonzero(matched), strict=True):
            self.matches[own[column]] += 1
            self.iou[own[column]] += iou[row, column]
        np.add.at(self.missed, theirs[~matched.any(axis=1) & ~is_crowd], 1)
        # Of several crowds of a class the last in the table counts, as in the public evaluation.
        crowd_of = {int(theirs[row]): row for row in np.flatnonzero(is_crowd).tolist()}
        in_crowd = [overlap[crowd_of[one], n] if one in crowd_of else 0 for n, one in enumerate(own.tolist())]
        excused = void + np.array(in_crowd, np.int64)
        wrong = ~matched.any(axis=0) & (areas > 0) & (excused <= 0.5 * areas)
        np.add.at(self.false_positives, own[wrong], 1)

    def quality(self, of: Bool[np.ndarray, "classes"] | None = None) -> QualityOfClasses:
        """Return the means over classes, all or some; 0 where none is there."""
        among = self.matches + 0.5 * self.false_positives + 0.5 * self.missed
        counted = among > 0 if of is None else (among > 0) & of
        if not counted.any():
            return QualityOfClasses(pq=0.0, sq=0.0, rq=0.0, classes=0)
        iou, matches = self.iou[counted], self.matches[counted]
        return QualityOfClasses(
            pq=float((iou / among[counted]).mean()),
            sq=float((iou / np.maximum(matches, 1)).mean()),
            rq=float((matches / among[counted]).mean()),
            classes=int(counted.sum()),
        )


def _overlaps(
    truth: Int[np.ndarray, "h w"], segments: int, found: Int[np.ndarray, "h w"], others: int
) -> Int64[np.ndarray, "t f"]:
    """Return how many pixels each pair shares; the first row and column are of none."""
    pairs = (truth.astype(np.int64) - NO_SEGMENT) * (others + 1) + found - NO_SEGMENT
    return np.bincount(pairs.ravel(), minlength=(segments + 1) * (others + 1)).reshape(segments + 1, others + 1)
