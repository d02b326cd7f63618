"""Resizing by matrices a part at a time: which part of a picture some rows of the matrix mix."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

_MULTIPLE = 8
"""Lengths of bands are rounded up to it, so that photos of different sizes share compiled programs."""


class Band(NamedTuple):
    """Some rows of a matrix, without the columns in which all are 0."""

    start: int
    """The first column that is there."""
    weights: Float32[np.ndarray, "rows length"]


def bands(matrix: Float32[np.ndarray, "n m"], rows: int) -> list[Band]:
    """Return a matrix `rows` at a time, the last filled up with rows of 0; all bands have one length.

    A matrix that resizes has a few columns in each row, so bands are little longer than the rows are many.
    """
    filled = np.pad(matrix, ((0, -len(matrix) % rows), (0, 0)))
    parts = filled.reshape(-1, rows, matrix.shape[1])
    used = (parts != 0).any(axis=1)
    starts = used.argmax(axis=1)
    ends = used.shape[1] - used[:, ::-1].argmax(axis=1)
    length = -(-int((ends - starts).max()) // _MULTIPLE) * _MULTIPLE
    parts = np.pad(parts, ((0, 0), (0, 0), (0, length)))
    return [Band(int(start), part[:, start : start + length]) for start, part in zip(starts, parts, strict=True)]


def cut(picture: Float32[np.ndarray, "h w c"], down: Band, across: Band) -> Float32[np.ndarray, "_ _ c"]:
    """Return the part of a picture that a band of rows and one of columns mix, filled up with 0 at its end."""
    sides = [(one.start, one.weights.shape[1]) for one in (down, across)]
    part = picture[tuple(slice(start, start + length) for start, length in sides)]
    missing = [(0, length - own) for (_, length), own in zip(sides, part.shape, strict=False)]
    return np.pad(part, (*missing, (0, 0)))
