"""Edge maps against annotators' boundaries: pixels matched one to one within a radius, as BSDS500's benchmark does.

Of all matchings with the most pairs, one of the least total distance, exactly. Distances are Euclidean, in hundredths
of a pixel and rounded, as the benchmark's own solver takes them; which of several equally good matchings is taken is
left open there too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, Integer, UInt8

from samjax.eval.protocols.edges import thinning
from samjax.eval.protocols.edges.levels import level_of
from samjax.eval.protocols.edges.matching_kernels import count_levels

RADIUS = 0.0075
"""Of a photo's diagonal: how far apart a detected and a true pixel of a pair may be."""

_COST = 100
"""Of a pixel's distance."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Pixels of an edge map at each of t thresholds, ascending, against those of all annotators."""

    hits: Int64[np.ndarray, "t"]
    """Boundary pixels that have a partner, summed over annotators."""
    boundary: int
    """Boundary pixels, summed over annotators."""
    right: Int64[np.ndarray, "t"]
    """Detected pixels that are some annotator's pixel's partner."""
    detections: Int64[np.ndarray, "t"]
    """Pixels of the thinned edge map."""


@dataclass(frozen=True, kw_only=True)
class Matching:
    """The pairs of two maps."""

    partners: Bool[np.ndarray, "h w"]
    """Pixels of the first that have a partner, as many as of `truth`."""
    truth: Bool[np.ndarray, "h w"]
    cost: int
    """Summed distance of the pairs, each in hundredths of a pixel, rounded."""

    @property
    def pairs(self) -> int:
        """How many there are."""
        return int(self.partners.sum())


@dataclass(frozen=True, kw_only=True)
class _Neighbourhood:
    """The pixels within a radius, nearest first, in a flat map of rows of `width` with a `margin` around."""

    margin: int
    offsets: Int64[np.ndarray, "n"]
    costs: Int64[np.ndarray, "n"]

    @classmethod
    def of(cls, radius: float, *, width: int) -> "_Neighbourhood":
        reach = int(radius)
        margin = reach + 1  # thinning looks a pixel far
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        squares = (y**2 + x**2).ravel()
        order = np.argsort(squares, kind="stable")
        order = order[squares[order] <= radius**2]
        offsets = (y * (width + 2 * margin) + x).ravel()[order].astype(np.int64)
        return cls(margin=margin, offsets=offsets, costs=np.rint(_COST * np.sqrt(squares[order])).astype(np.int64))


def match(detected: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"], *, radius: float) -> Matching:
    """Return the pairs of two maps as they are, not thinned, within `radius` pixels."""
    near = _Neighbourhood.of(radius, width=detected.shape[1])
    none = np.zeros(256, bool)
    _, partner = _count(detected.astype(np.uint8), [truth], np.array([1]), near, thin=(none, none))
    inside = np.s_[near.margin : -near.margin, near.margin : -near.margin]
    shape = (detected.shape[0] + 2 * near.margin, detected.shape[1] + 2 * near.margin)
    paired = np.flatnonzero(partner[0, 0] >= 0)
    cost_of = dict(zip(near.offsets.tolist(), near.costs.tolist(), strict=True))
    return Matching(
        partners=(partner[0, 0] >= 0).reshape(shape)[inside],
        truth=(partner[0, 1] >= 0).reshape(shape)[inside],
        cost=sum(cost_of[step] for step in (partner[0, 0, paired] - paired).tolist()),
    )


def count(
    edges: UInt8[np.ndarray, "h w"],
    boundaries: Sequence[Bool[np.ndarray, "h w"]],
    *,
    thresholds: Sequence[float],
    radius: float | None = None,
) -> Counts:
    """Cut an edge map, 255 for a certain edge, at each of ascending `thresholds` of (0, 1], thin, match and count.

    An annotator's boundaries are taken as they are. `radius` is in pixels; by default `RADIUS` of the diagonal.
    Python's lock is not held meanwhile.
    """
    height, width = edges.shape
    near = _Neighbourhood.of(RADIUS * np.hypot(height, width) if radius is None else radius, width=width)
    levels = np.array([level_of(threshold) for threshold in reversed(thresholds)])
    counts, _ = _count(edges, boundaries, levels, near, thin=thinning.TABLES)
    found, right, detected = counts[::-1].T.copy()
    total = sum(int(one.sum()) for one in boundaries)
    return Counts(hits=found, boundary=total, right=right, detections=detected)


def _count(
    edges: UInt8[np.ndarray, "h w"],
    boundaries: Sequence[Bool[np.ndarray, "h w"]],
    levels: Integer[np.ndarray, "t"],
    near: _Neighbourhood,
    *,
    thin: tuple[Bool[np.ndarray, "256"], Bool[np.ndarray, "256"]],
) -> tuple[Int64[np.ndarray, "t 3"], Integer[np.ndarray, "people 2 pixels"]]:
    padded = np.pad(edges, near.margin)
    truths = np.stack([np.pad(one, near.margin).reshape(-1) for one in boundaries])
    counts = np.zeros((len(levels), 3), np.int64)
    partner = np.full((len(boundaries), 2, padded.size), -1, np.int32)
    count_levels(
        padded.reshape(-1),
        levels.astype(np.int64),
        truths,
        near.offsets,
        near.costs,
        thinning.around(padded.shape[1]),
        *thin,
        counts,
        partner,
    )
    return counts, partner
