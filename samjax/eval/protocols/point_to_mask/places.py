"""Where the annotator of an evaluation clicks, on a photo's own pixels.

Training's validation places its clicks on the device, in the model's frame (`samjax.prompting.clicks`); here photos
keep their sizes, of which no two need agree, so this is done on the host. The rule is the same.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from scipy import ndimage


class Place(NamedTuple):
    """The pixel to click, and whether the object is there."""

    x: int
    y: int
    foreground: bool


class _Center(NamedTuple):
    x: int
    y: int
    distance: float


def central_place(mask: Bool[np.ndarray, "h w"]) -> Place:
    """Return the first click on an object: the maximum of its distance transform, the first in row order of several.

    Raises:
      ValueError: the mask is empty.
    """
    center = _center(mask)
    if not center.distance:
        raise ValueError("there is no pixel to click: the mask is empty")
    return Place(center.x, center.y, True)


def random_place(mask: Bool[np.ndarray, "h w"], *, seed: int, instance: int) -> Place:
    """Return a first click anywhere on an object, each pixel as likely: the same for a seed and the object's id.

    Raises:
      ValueError: the mask is empty.
    """
    pixels = np.flatnonzero(mask)
    if not pixels.size:
        raise ValueError("there is no pixel to click: the mask is empty")
    generator = np.random.Generator(np.random.Philox(key=[seed, instance]))
    y, x = divmod(int(pixels[generator.integers(pixels.size)]), mask.shape[1])
    return Place(x, y, True)


def correcting_place(*, predicted: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"]) -> Place:
    """Return the click after a prediction: the centre of the largest error.

    What was missed and what was wrongly claimed are transformed apart; the one with the larger maximum is clicked,
    what was claimed on a tie. A perfect prediction is clicked at the centre of the object.
    """
    missed, claimed = _center(truth & ~predicted), _center(predicted & ~truth)
    if not missed.distance and not claimed.distance:
        return central_place(truth)
    foreground = missed.distance > claimed.distance
    chosen = missed if foreground else claimed
    return Place(chosen.x, chosen.y, foreground)


def _center(region: Bool[np.ndarray, "h w"]) -> _Center:
    """Return the pixel farthest from the outside of `region`; beyond the photo is outside. Distance 0: it is empty.

    The transform is exact, and taken of the region's box alone: what is outside of that changes nothing.
    """
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if not rows.size:
        return _Center(0, 0, 0.0)
    top, left = int(rows[0]), int(columns[0])
    box = np.pad(region[top : rows[-1] + 1, left : columns[-1] + 1], 1)
    distance = np.asarray(ndimage.distance_transform_edt(box))[1:-1, 1:-1]
    y, x = divmod(int(np.argmax(distance)), distance.shape[1])
    return _Center(left + x, top + y, float(distance[y, x]))
