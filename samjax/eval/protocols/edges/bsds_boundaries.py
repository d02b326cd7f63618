"""Boundaries in MATLAB's file format, as BSDS500 has them.

The file holds a cell array `groundTruth` with an entry for each annotator: a struct of `Segmentation`, a number per
region, and `Boundaries`, the pixels where regions meet. An array of such structs is read as well. Boundaries may be of
any numeric class, logical, double or another, full or sparse, as long as their values are 0 and 1.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from samjax.data.matlab_file import read_variable, real_matrix

_MOST_PEOPLE = 100


def read_boundaries(path: Path) -> list[Bool[np.ndarray, "h w"]]:
    """Return each annotator's boundaries, one at least, all of one size.

    Raises:
      ValueError: it is no such file; the message continues its name.
    """
    cells = read_variable(path, "groundTruth")
    if not isinstance(cells, np.ndarray) or (cells.dtype != object and not cells.dtype.names):
        raise ValueError("has no cell array groundTruth, nor an array of structs of that name")
    if not 1 <= cells.size <= _MOST_PEOPLE:
        raise ValueError(f"has {cells.size} annotators, but must have between 1 and {_MOST_PEOPLE}")
    boundaries = [_boundaries(cell, person) for person, cell in enumerate(cells.ravel(), 1)]
    if len({one.shape for one in boundaries}) > 1:
        raise ValueError(f"has annotators of several sizes: {', '.join(str(one.shape) for one in boundaries)}")
    return boundaries


def _boundaries(entry: object, person: int) -> Bool[np.ndarray, "h w"]:
    """Return the boundaries of a struct: numbers of any class, full or sparse, that are 0 and 1."""
    fields = entry.ravel()[0] if isinstance(entry, np.ndarray) and entry.size == 1 else entry
    if not isinstance(fields, np.void) or "Boundaries" not in (fields.dtype.names or ()):
        raise ValueError(f"has no struct with Boundaries for annotator {person}")
    drawn = real_matrix(fields["Boundaries"])
    if drawn is None:
        raise ValueError(f"has Boundaries of annotator {person} that are not a picture of 0 and 1, or too large a one")
    if (drawn % 1 != 0).any():
        raise ValueError(f"has Boundaries of annotator {person} that are not a picture of 0 and 1: {_other(drawn)}")
    if ((drawn != 0) & (drawn != 1)).any():
        raise ValueError(f"has Boundaries of annotator {person} with other numbers than 0 and 1: {_other(drawn)}")
    return drawn.astype(bool)


def _other(drawn: np.ndarray) -> str:
    """Return the first number that is neither 0 nor 1."""
    return f"{drawn[(drawn != 0) & (drawn != 1)][0]:g} is one of them"
