"""Edges without a model: Sobel's and Canny's detectors, as baselines.

Canny's is that of the Berkeley toolbox, whose figures the literature repeats: grey, derivatives of a Gaussian of 2
pixels, their magnitude as a probability by the toolbox's logistic fit, non-maximum suppression, and hysteresis at every
threshold of the benchmark. How the published figures of Sobel's came about is not documented anywhere that we found;
this one is the plain detector: grey, a Gaussian, of 2 pixels unless another is asked for, Sobel's magnitude divided by
the photo's greatest, and suppression.
"""

from typing import cast

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from scipy import ndimage

from samjax.eval.protocols.edges.levels import THRESHOLDS
from samjax.eval.protocols.edges.suppression import suppress_neighbours

SIGMA = 2.0
"""Of the Gaussian, in pixels."""

_LUMA = (0.2989, 0.5870, 0.1140)
_OFFSET, _SLOPE = -2.9906198, 22.454909
"""Of the logistic function of the gradient's magnitude, as fitted for the Berkeley toolbox at `SIGMA`."""
_LOW = 1 / 3
"""The lower threshold of hysteresis, over the upper."""


def sobel(photo: UInt8[np.ndarray, "h w 3"], *, sigma: float = SIGMA) -> Float32[np.ndarray, "h w"]:
    """Return the suppressed edge map of a photo, in [0, 1]; `sigma` is the Gaussian's in pixels, 0 for none."""
    smooth = ndimage.gaussian_filter(_grey(photo), sigma, mode="reflect")
    dx, dy = (ndimage.sobel(smooth, axis=axis, mode="reflect") for axis in (1, 0))
    strength = np.hypot(dx, dy)
    most = strength.max()
    if most < 1e-9:  # one colour: what is left is rounding
        return np.zeros(strength.shape, np.float32)
    return suppress_neighbours((strength / most).astype(np.float32), np.arctan2(dy, dx).astype(np.float32))


def canny(photo: UInt8[np.ndarray, "h w 3"]) -> Float32[np.ndarray, "h w"]:
    """Return the edge map of a photo: of each pixel the greatest of `THRESHOLDS` that it is an edge at, or 0.

    Cut at a threshold, the map is what hysteresis with that upper threshold leaves: the pixels that are above the lower
    one and connected, by their eight neighbours and theirs, with one that reaches the upper.
    """
    grey = _grey(photo)
    # Filters whose absolute values sum to 1, as the toolbox's.
    scale = SIGMA * np.sqrt(2 * np.pi) / 2
    dx, dy = (
        scale * ndimage.gaussian_filter(grey, SIGMA, order=order, mode="reflect")  # type: ignore[arg-type]
        for order in ((0, 1), (1, 0))
    )
    magnitude = np.hypot(dx, dy)
    likely = 1 / (1 + np.exp(-(_OFFSET + _SLOPE * magnitude)))
    likely[magnitude < 1e-9] = 0  # flat
    thin = suppress_neighbours(likely.astype(np.float32), np.arctan2(dy, dx).astype(np.float32))
    edges = np.zeros_like(thin)
    for high in THRESHOLDS:
        labels, count = cast(tuple[np.ndarray, int], ndimage.label(thin > _LOW * high, np.ones((3, 3))))
        strong = np.zeros(count + 1, bool)
        strong[labels[thin >= high]] = True
        edges[strong[labels]] = high
    return edges


def _grey(photo: UInt8[np.ndarray, "h w 3"]) -> Float64[np.ndarray, "h w"]:
    return photo @ (np.array(_LUMA) / 255)
