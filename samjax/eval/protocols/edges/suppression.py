"""Edge maps reduced to their ridges: non-maximum suppression across the edge (Canny, 1986)."""

from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64
from scipy import ndimage

from samjax.core.numba_cache import jit_kernel

_FAVOUR = 1.01
"""A pixel stays if it is this many times as strong as its neighbours: those of a plateau all do."""

_SMOOTH = 4
"""Pixels that the triangle filter before the ridge's direction is taken reaches to each side."""


BORDER = 5
"""Pixels from the photo's border within which `ridges` weakens edges, as the structured edge toolbox does."""


def ridges(edges: Float32[np.ndarray, "h w"], *, border: int = BORDER) -> Float32[np.ndarray, "h w"]:
    """Return the map with zeros where a neighbour across the edge is stronger, and weaker edges near the border.

    Across is where the map, smoothed by a triangle filter as in the structured edge toolbox, is curved the most: the
    eigenvector of its second derivatives with the greatest absolute value.

    Args:
      edges: the map.
      border: a pixel k from the border, 0 for those on it, keeps k / `border` of its strength; 0 weakens none. It is at
        most half the photo's side.
    """
    triangle = np.bartlett(2 * _SMOOTH + 3)[1:-1]
    smooth = edges.astype(np.float64)
    for axis in range(2):
        smooth = ndimage.convolve1d(smooth, triangle / triangle.sum(), axis=axis, mode="reflect")
    dy, dx = _slope(smooth, 0), _slope(smooth, 1)
    dyy, dyx, dxx = _slope(dy, 0), _slope(dy, 1), _slope(dx, 1)
    sign = np.where(dxx + dyy < 0, -1, 1)
    across = (0.5 * np.arctan2(sign * 2 * dyx, sign * (dxx - dyy))).astype(np.float32)
    return _weakened(suppress_neighbours(edges, across), border)


def _slope(values: Float64[np.ndarray, "h w"], axis: int) -> Float64[np.ndarray, "h w"]:
    return np.gradient(values, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values)


def _weakened(edges: Float32[np.ndarray, "h w"], border: int) -> Float32[np.ndarray, "h w"]:
    ramps = []
    for side in edges.shape:
        away = np.minimum(np.arange(side), np.arange(side)[::-1])
        reach = min(border, side // 2)
        ramps.append(np.minimum(away / reach, 1).astype(np.float32) if reach else np.ones(side, np.float32))
    return edges * ramps[0][:, None] * ramps[1]


def suppress_neighbours(
    edges: Float32[np.ndarray, "h w"], across: Float32[np.ndarray, "h w"]
) -> Float32[np.ndarray, "h w"]:
    """Return the map with zeros where one of the two places a pixel away at the angle `across` is stronger.

    The angle is from x to y, in radians; between pixels the map is bilinear, beyond its edges as on them.
    """
    kept = np.zeros_like(edges)
    _suppress(edges, across, kept, _FAVOUR)
    return kept


@jit_kernel
@no_type_check
def _suppress(edges, across, kept, favour):
    height, width = edges.shape
    for y in range(height):
        for x in range(width):
            strength = edges[y, x]
            if strength <= 0:
                continue
            step_x, step_y = np.cos(across[y, x]), np.sin(across[y, x])
            most = 0.0
            for sign in (-1, 1):
                at_y = min(max(y + sign * step_y, 0.0), height - 1.0)
                at_x = min(max(x + sign * step_x, 0.0), width - 1.0)
                y0, x0 = int(at_y), int(at_x)
                y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                part_y, part_x = at_y - y0, at_x - x0
                upper = (1 - part_x) * edges[y0, x0] + part_x * edges[y0, x1]
                lower = (1 - part_x) * edges[y1, x0] + part_x * edges[y1, x1]
                most = max(most, (1 - part_y) * upper + part_y * lower)
            if favour * strength >= most:
                kept[y, x] = strength
