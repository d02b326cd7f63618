"""The benchmark's thresholds, and edge maps in 8 bits that reach the same of them."""

import numpy as np
from jaxtyping import Float32, UInt8

THRESHOLDS = tuple(k / 100 for k in range(1, 100))
_ROUNDING = 1e-5
"""In hundredths: more than float32 is off."""


def level_of(threshold: float) -> int:
    """Return the least value of 1 to 255 that is `threshold` or more of 255, but for rounding in the threshold."""
    return max(1, int(np.ceil(round(255 * threshold, 6))))


_FIRST = np.array([0, *(level_of(threshold) for threshold in THRESHOLDS), 255])
"""The least level that reaches k of the thresholds; the last that of an edge of 1."""
_LAST = np.array([*(_FIRST[1:] - 1), 255])


def as_levels(edges: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Return an edge map of [0, 1] in levels of 0 to 255, the nearest that reaches as many of `THRESHOLDS` as it does.

    The nearest level alone would be too low at 47 of the 99: 0.99 becomes 252 of 255, which is 0.988.
    """
    reached = np.floor(100 * edges.astype(np.float64) + _ROUNDING).astype(np.int64)
    return np.clip(np.rint(255 * edges), _FIRST[reached], _LAST[reached]).astype(np.uint8)
