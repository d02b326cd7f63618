"""All masks of a photo in one picture."""

import colorsys
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from samjax.data.masks.resample import resample
from samjax.predict.overlay import outline

_LONGEST = 1600
"""Longest side of the picture, in pixels; smaller photos are not enlarged beyond twice their size."""
_STRENGTH = 0.55
_GOLDEN = 0.618034


@runtime_checkable
class Drawable(Protocol):
    """A mask, such as a `GeneratedMask`."""

    @property
    def segmentation(self) -> dict[str, Any]:
        """Compressed COCO run lengths of the photo's size."""
        ...

    @property
    def area(self) -> float:
        """What masks are ordered by."""
        ...


def draw_masks(photo: UInt8[np.ndarray, "h w 3"], masks: Sequence[Drawable]) -> UInt8[np.ndarray, "drawn_h drawn_w 3"]:
    """Return the photo with every mask tinted and outlined in a colour of its own, small ones over large ones.

    What no mask covers is shown in grey.
    """
    height, width = photo.shape[:2]
    scale = min(2.0, _LONGEST / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    plain = np.asarray(Image.fromarray(photo).resize((size[1], size[0]), Image.Resampling.LANCZOS))
    grey = np.asarray(Image.fromarray(plain).convert("L"))[..., None]
    covered = np.zeros(size, bool)
    tint = np.zeros((*size, 3), np.uint8)
    lines = np.zeros((*size, 3), np.uint8)
    lined = np.zeros(size, bool)
    for place, mask in enumerate(sorted(masks, key=lambda mask: -mask.area)):
        packed = resample(mask.segmentation["counts"], height=height, width=width, size=size)
        inside = np.unpackbits(packed, axis=-1, count=size[1]).astype(bool)
        fill, line = _colours(place)
        covered |= inside
        tint[inside] = fill
        lined &= ~inside
        edge = outline(np.zeros((*size, 3), np.uint8), inside, (1, 1, 1), width=2)[..., 0] > 0
        lined |= edge
        lines[edge] = line
    shown = np.where(covered[..., None], (1 - _STRENGTH) * plain + _STRENGTH * tint, 0.7 * grey + 40)
    return np.where(lined[..., None], lines, shown).astype(np.uint8)


def _colours(place: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return fill and outline of a mask: neighbours in the order differ most in hue."""
    hue = (place * _GOLDEN) % 1
    lightness, saturation = 0.5 + 0.12 * (place % 3 - 1), 0.75 + 0.2 * (place % 2)

    def colour(light: float) -> tuple[int, int, int]:
        red, green, blue = colorsys.hls_to_rgb(hue, light, saturation)
        return round(255 * red), round(255 * green), round(255 * blue)

    return colour(lightness), colour(0.85)
