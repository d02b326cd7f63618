"""The figures of the boundary benchmark, from counts of matched pixels.

As the field's toolbox computes them, peculiarities included, so that figures compare with published ones: F between
two thresholds by lines between their precisions and recalls; the average precision as a sum over 101 recalls divided by
100; nothing is assumed beyond the least and the greatest recall. Where no pixel reaches a threshold, precision and
recall are 0 there, and the average precision counts this point as any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from samjax.eval.protocols.edges.levels import THRESHOLDS
from samjax.eval.protocols.edges.matching import Counts

_BETWEEN = 100
"""Places looked at between two thresholds, both included."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """Where F is greatest."""

    f: float
    precision: float
    recall: float
    threshold: float


@dataclass(frozen=True, kw_only=True)
class EdgeScores:
    """Of a data set: at one threshold for all photos (ODS), at the best of each (OIS), and over all thresholds."""

    ods: Best
    ois: float
    """F of the counts summed over photos, each at its own best threshold."""
    average_precision: float | None
    """Area under precision by recall; None where all thresholds have one recall."""
    r50: float | None
    """Recall at a precision of 0.5, or at the least where all are above; None where none reaches it."""
    recall: Float64[np.ndarray, "t"]
    precision: Float64[np.ndarray, "t"]


def score(photos: Sequence[Counts]) -> EdgeScores:
    """Return the figures of one photo or more, all counted at `THRESHOLDS`."""
    found = np.sum([counts.hits for counts in photos], axis=0)
    right = np.sum([counts.right for counts in photos], axis=0)
    detected = np.sum([counts.detections for counts in photos], axis=0)
    boundary = sum(counts.boundary for counts in photos)
    recall, precision = _share(found, boundary), _share(right, detected)
    each = [(counts, _best_place(counts)) for counts in photos]
    at_best = [sum(int(getattr(counts, kind)[k]) for counts, k in each) for kind in ("hits", "right", "detections")]
    chosen = _share(np.array([at_best[0]]), boundary), _share(np.array([at_best[1]]), at_best[2])
    return EdgeScores(
        ods=_best(recall, precision),
        ois=float(_f(*chosen)[0]),
        average_precision=_average_precision(recall, precision),
        r50=_recall_at_half(recall, precision),
        recall=recall,
        precision=precision,
    )


def best_of(counts: Counts) -> Best:
    """Return where one photo's F is greatest among `THRESHOLDS`."""
    recall, precision, k = *_rates(counts), _best_place(counts)
    f = float(_f(recall, precision)[k])
    return Best(f=f, precision=float(precision[k]), recall=float(recall[k]), threshold=THRESHOLDS[k])


def _best_place(counts: Counts) -> int:
    return int(np.argmax(_f(*_rates(counts))))


def _rates(counts: Counts) -> tuple[Float64[np.ndarray, "t"], Float64[np.ndarray, "t"]]:
    """Return recall and precision of one photo; 0 of nothing."""
    return _share(counts.hits, counts.boundary), _share(counts.right, counts.detections)


def _share(part: Int64[np.ndarray, "t"], whole: Int64[np.ndarray, "t"] | int) -> Float64[np.ndarray, "t"]:
    return part / np.maximum(1, whole)


def _f(recall: Float64[np.ndarray, "*t"], precision: Float64[np.ndarray, "*t"]) -> Float64[np.ndarray, "*t"]:
    return 2 * precision * recall / np.maximum(np.finfo(float).eps, precision + recall)


def _best(recall: Float64[np.ndarray, "t"], precision: Float64[np.ndarray, "t"]) -> Best:
    part = np.linspace(0, 1, _BETWEEN)
    lines = [
        (values[1:, None] * part + values[:-1, None] * (1 - part)).ravel()
        for values in (recall, precision, np.array(THRESHOLDS))
    ]
    f = _f(lines[0], lines[1])
    k = int(np.argmax(f))
    return Best(f=float(f[k]), recall=float(lines[0][k]), precision=float(lines[1][k]), threshold=float(lines[2][k]))


def _average_precision(recall: Float64[np.ndarray, "t"], precision: Float64[np.ndarray, "t"]) -> float | None:
    distinct, first = np.unique(recall, return_index=True)
    if len(distinct) < 2:
        return None
    places = np.arange(101) / 100
    inside = (places >= distinct[0]) & (places <= distinct[-1])
    return float(np.interp(places[inside], distinct, precision[first]).sum() / 100)


def _recall_at_half(recall: Float64[np.ndarray, "t"], precision: Float64[np.ndarray, "t"]) -> float | None:
    distinct_recall, first = np.unique(recall, return_index=True)
    precision = precision[first][::-1]
    distinct, first = np.unique(precision, return_index=True)
    if distinct[-1] < 0.5:
        return None
    return float(np.interp(max(0.5, distinct[0]), distinct, distinct_recall[::-1][first]))
