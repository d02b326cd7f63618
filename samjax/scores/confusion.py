"""Confusion matrices of classes, and the scores of semantic segmentation that follow from one."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64


def confusion(
    truth: Int[np.ndarray, "*n"], predicted: Int[np.ndarray, "*n"], *, classes: int
) -> Int64[np.ndarray, "classes classes"]:
    """Return how many pixels of each class [rows] are predicted as each class [columns].

    Pixels whose truth is negative count for nothing.

    Raises:
      ValueError: a truth or a counted prediction is no class.
    """
    counted = truth >= 0
    rows, columns = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    if rows.size and (rows.max() >= classes or columns.min() < 0 or columns.max() >= classes):
        raise ValueError(f"classes are 0 to {classes - 1}, got {rows.max()} in the truth, {columns.max()} predicted")
    return np.bincount(rows * classes + columns, minlength=classes * classes).reshape(classes, classes)


class ClassScore(NamedTuple):
    """One class's score; NaN where it is undefined."""

    iou: float
    accuracy: float
    """The share of its pixels that are predicted as it."""
    pixels: int
    """Of the truth."""


@dataclass(frozen=True, kw_only=True)
class SemanticScores:
    """The scores of one confusion matrix over a whole data set, as published: not means over photos."""

    matrix: Int64[np.ndarray, "classes classes"]

    @property
    def ious(self) -> Float64[np.ndarray, "classes"]:
        """Each class's intersection over union; NaN of classes that are neither in the truth nor predicted."""
        both = np.diag(self.matrix)
        union = self.matrix.sum(0) + self.matrix.sum(1) - both
        with np.errstate(invalid="ignore"):
            return both / union

    @property
    def accuracies(self) -> Float64[np.ndarray, "classes"]:
        """The share of each class's pixels that are predicted as it; NaN of classes that the truth has not."""
        with np.errstate(invalid="ignore"):
            return np.diag(self.matrix) / self.matrix.sum(1)

    @property
    def present(self) -> Bool[np.ndarray, "classes"]:
        """Which classes the truth or the predictions have."""
        return ~np.isnan(self.ious)

    @property
    def miou(self) -> float:
        """The mean over the classes that are present; NaN without any."""
        return float(self.ious[self.present].mean()) if self.present.any() else float("nan")

    @property
    def mean_accuracy(self) -> float:
        """The mean of `accuracies`, over classes that the truth has; NaN without any."""
        known = self.accuracies[~np.isnan(self.accuracies)]
        return float(known.mean()) if known.size else float("nan")

    @property
    def pixel_accuracy(self) -> float:
        """The share of all pixels that are predicted right; NaN without any."""
        total = int(self.matrix.sum())
        return float(np.trace(self.matrix)) / total if total else float("nan")

    def of_class(self, number: int) -> ClassScore:
        """Return one class's score."""
        return ClassScore(
            iou=float(self.ious[number]),
            accuracy=float(self.accuracies[number]),
            pixels=int(self.matrix[number].sum()),
        )
