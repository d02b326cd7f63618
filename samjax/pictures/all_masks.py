"""All masks of a photo in one picture."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pycocotools import mask as coco

from samjax.data.masks.resample import resample
from samjax.pictures.colours import PAPER, mask_colour, mix
from samjax.pictures.overlay import outline

_LONGEST = 1600
"""Longest side of the picture, in pixels; smaller photos are not enlarged beyond twice their size."""
_STRENGTH = 0.55
_LIGHTER = 0.7


def draw_all_masks(
    photo: UInt8[np.ndarray, "h w 3"], masks: Sequence[str], *, areas: Sequence[float] | None = None
) -> UInt8[np.ndarray, "drawn_h drawn_w 3"]:
    """Return the photo with every mask tinted and outlined in a colour of its own, small ones over large ones.

    What no mask covers is shown in grey.

    Args:
      masks: compressed COCO run lengths of the photo's size.
      areas: what orders the masks and so gives them their colours; by default their own areas.
    """
    height, width = photo.shape[:2]
    if areas is None:
        areas = [float(coco.area({"size": [height, width], "counts": mask})) for mask in masks]  # type: ignore[arg-type]
    scale = min(2.0, _LONGEST / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    plain = np.asarray(Image.fromarray(photo).resize((size[1], size[0]), Image.Resampling.LANCZOS))
    grey = np.asarray(Image.fromarray(plain).convert("L"))[..., None]
    covered = np.zeros(size, bool)
    tint = np.zeros((*size, 3), np.uint8)
    lines = np.zeros((*size, 3), np.uint8)
    lined = np.zeros(size, bool)
    for place, k in enumerate(sorted(range(len(masks)), key=lambda k: -areas[k])):
        packed = resample(masks[k], height=height, width=width, size=size)
        inside = np.unpackbits(packed, axis=-1, count=size[1]).astype(bool)
        colour = mask_colour(place)
        covered |= inside
        tint[inside] = colour
        lined &= ~inside
        edge = outline(np.zeros((*size, 3), np.uint8), inside, (1, 1, 1), width=2)[..., 0] > 0
        lined |= edge
        lines[edge] = mix(colour, PAPER, _LIGHTER)
    shown = np.where(covered[..., None], (1 - _STRENGTH) * plain + _STRENGTH * tint, 0.7 * grey + 40)
    return np.where(lined[..., None], lines, shown).astype(np.uint8)
