"""Thinning of edge maps to lines one pixel wide.

The parallel algorithm of Guo and Hall (1989) in the form of Lam, Lee and Suen (1992), until nothing changes: what the
standard benchmark does to each thresholded map.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from samjax.eval.protocols.edges.matching_kernels import thin_flat

_AROUND = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
"""(y, x) of a pixel's neighbours x1 to x8: the one to the right, and on against the clock."""


class _Tables(NamedTuple):
    """By neighbourhood, x1 the lowest bit, whether the first and the second turn of a round remove a pixel."""

    first: Bool[np.ndarray, "256"]
    second: Bool[np.ndarray, "256"]


def _tables() -> _Tables:
    first, second = np.zeros(256, bool), np.zeros(256, bool)
    for code in range(256):
        x = [False, *(bool(code >> bit & 1) for bit in range(8))]
        x.append(x[1])  # x9 is x1
        crossings = sum(not x[i] and (x[i + 1] or x[i + 2]) for i in (1, 3, 5, 7))
        pairs = min(sum(x[i] or x[i + 1] for i in (1, 3, 5, 7)), sum(x[i] or x[i + 1] for i in (2, 4, 6, 8)))
        if crossings == 1 and pairs in (2, 3):
            first[code] = not ((x[2] or x[3] or not x[8]) and x[1])
            second[code] = not ((x[6] or x[7] or not x[4]) and x[5])
    return _Tables(first, second)


TABLES = _tables()


def around(width: int) -> Int64[np.ndarray, "8"]:
    """Return the offsets of the eight neighbours in a flat picture of rows of `width`."""
    return np.array([y * width + x for y, x in _AROUND], np.int64)


def thin(picture: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Return the lines that are left; beyond the edges nothing is set."""
    padded = np.pad(picture, 1).astype(np.uint8)
    pixels = np.flatnonzero(padded).astype(np.int32)
    thin_flat(padded.reshape(-1), pixels, len(pixels), around(padded.shape[1]), *TABLES)
    return padded[1:-1, 1:-1].astype(bool)
