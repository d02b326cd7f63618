"""Label maps in MATLAB's file format, as the authors of Pascal Context give them (Mottaghi et al. 2014)."""

from pathlib import Path

import numpy as np
from jaxtyping import Int32

from samjax.data.annotations.pngs import PngError
from samjax.data.matlab_file import read_variable, real_matrix

VARIABLE = "LabelMap"
"""The matrix in each file."""
_GREATEST = 2**16 - 1
"""Of its numbers: as many as a grey PNG of 16 bits holds."""


def read_label_map(path: Path) -> Int32[np.ndarray, "h w"]:
    """Return the whole numbers of a file's matrix `LabelMap`, 0 to 65,535.

    Raises:
      PngError: the file cannot be read, is too large, or has no such matrix.
    """
    try:
        values = real_matrix(read_variable(path, VARIABLE))
    except ValueError as error:
        raise PngError(f"it {error}") from error
    if values is None:
        raise PngError(f"it has no matrix {VARIABLE} of numbers, or too large a one")
    if not np.isfinite(values).all() or (values % 1 != 0).any() or values.min() < 0 or values.max() > _GREATEST:
        raise PngError(f"its {VARIABLE} has other numbers than whole ones from 0 to {_GREATEST:,}")
    return values.astype(np.int32)
