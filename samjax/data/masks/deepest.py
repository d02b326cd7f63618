"""A pixel deep inside a mask, without JAX: what stands for its prompt where it had none."""

import numpy as np
from jaxtyping import Bool, Int32


def deepest_pixel(mask: Bool[np.ndarray, "h w"]) -> tuple[int, int]:
    """Return the (x, y) of the pixel that most steps along rows and columns part from the nearest pixel outside.

    What lies beyond the photo is outside. The first in row order on a tie. (Clicks of evaluations use the Euclidean
    distance: `samjax.prompting.center`.)

    Raises:
      ValueError: the mask has no pixel.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        raise ValueError("the mask has no pixel")
    top, left = int(rows[0]), int(columns[0])
    inside = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    steps = _steps_outside(inside)
    y, x = np.unravel_index(int(steps.argmax()), steps.shape)
    return int(x) + left - 1, int(y) + top - 1


def _steps_outside(inside: Bool[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Return each pixel's city-block distance to the nearest pixel outside: along columns, then along rows.

    The distance to the left is a running minimum: d(x) = min over x' <= x of d(x') - x', plus x.
    """
    steps = np.where(inside, np.int32(sum(inside.shape)), np.int32(0))
    for axis in (0, 1):
        places = np.expand_dims(np.arange(steps.shape[axis], dtype=np.int32), 1 - axis)
        before = np.minimum.accumulate(steps - places, axis=axis) + places
        after = np.flip(np.minimum.accumulate(np.flip(steps + places, axis), axis=axis), axis) - places
        steps = np.minimum(before, after)
    return steps
