"""Inverse depth as a picture: near is bright."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

UNKNOWN = (110, 120, 130)
"""Of pixels whose depth nobody knows: no shade of the map of colours."""


def paint_depth(
    inverse: Float[np.ndarray, "h w"],
    *,
    known: Bool[np.ndarray, "h w"] | None = None,
    bounds: tuple[float, float] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a picture of inverse depth in the colours of `inferno`.

    Args:
      inverse: of any scale.
      known: pixels that have one, None for all; others are grey.
      bounds: what is black and what is brightest; None for the least and the greatest that is known.
    """
    from matplotlib import colormaps

    known = np.ones(inverse.shape, bool) if known is None else known
    least, greatest = bounds or bounds_of(inverse, known)
    shade = np.clip((inverse - least) / max(greatest - least, 1e-12), 0.0, 1.0)
    painted = (colormaps["inferno"](shade)[..., :3] * 255).round().astype(np.uint8)
    return np.where(known[..., None], painted, np.array(UNKNOWN, np.uint8))


def bounds_of(inverse: Float[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]) -> tuple[float, float]:
    """Return the least and the greatest of what is known; 0 and 1 where nothing is."""
    if not known.any():
        return 0.0, 1.0
    return float(inverse[known].min()), float(inverse[known].max())
