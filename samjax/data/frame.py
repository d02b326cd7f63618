"""Photos into the model's frame: JPEGs decoded by libjpeg-turbo (simplejpeg), PNGs by PIL, scaled by PIL's antialiased
bilinear.

Pixels are taken as stored, whatever EXIF says of their orientation: masks are drawn on them as stored.
"""

import contextlib
import enum
import math
from typing import Protocol, runtime_checkable

import numpy as np
import simplejpeg
from jaxtyping import UInt8
from PIL import Image

from samjax.data.masks.rle import MAX_PIXELS
from samjax.data.photo import open_photo
from samjax.data.view import View


class Decoding(enum.Enum):
    """How to decode a photo's pixels before scaling them to the model's frame."""

    EXACT = "exact"
    """All of them: bit for bit what PIL decodes and scales, the numerics the released model was made for."""
    SCALED = "scaled"
    """Some eighths of them, inverse-transformed at the smaller size, where that stays within one grey level of EXACT on
    average: photos scaled down 2.6 times or more, as SA-1B's to a frame of 512. To 1024 they are decoded whole."""


@runtime_checkable
class Recolouring(Protocol):
    """A change of a photo's colours, such as `data.colour_change.ColourChange`."""

    def apply(self, photo: Image.Image) -> Image.Image:
        """Return an RGB photo of the same size."""
        ...


_COLOURS = ("YCbCr", "Gray", "RGB")
_EIGHTHS = {1: 2.5, 2: 2.5, 3: 1.6, 4: 2.0, 5: 1.6}
"""Eighths of a photo's side that can be decoded, and how many of these pixels the frame's pixel must take the place of.

On photos that were not enlarged the mean error is then 0.6 to 0.8 grey levels; with 1.3 for all it was 0.9 to 1.9. Six
and seven eighths take libjpeg-turbo as long as all of them.
"""


def frame_photo(
    jpeg: bytes, *, view: View, frame: tuple[int, int], decoding: Decoding, colours: Recolouring | None = None
) -> UInt8[np.ndarray, "frame_h frame_w 3"]:
    """Return `view` of a photo in the top-left corner of `frame`, the rest zeros; grey and CMYK become RGB.

    `colours` are changed in the view alone, not in what lies around it.

    Raises:
      PhotoError: neither a JPEG nor an 8-bit PNG, truncated, or not of the size that the view is of.
    """
    photo, decoded = decode_photo(jpeg, photo=view.photo, scaled=view.scaled_size, decoding=decoding)
    (top, left), (height, width) = view.corner, view.window
    if (height, width) == view.scaled_size and decoded == photo.size:
        window = photo.resize((width, height), Image.Resampling.BILINEAR)
    else:
        across, down = decoded[0] / view.scaled_size[1], decoded[1] / view.scaled_size[0]
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        window = photo.resize((width, height), Image.Resampling.BILINEAR, box=_inside(box, photo.size))
    pixels = np.asarray(window if colours is None else colours.apply(window))
    image = np.zeros((*frame, 3), np.uint8)
    image[:height, :width] = pixels[:: -1 if view.upside_down else 1, :: -1 if view.flip else 1]
    return image


def _inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Rounding can put a box's far corner a hair outside, which PIL refuses."""
    return (*box[:2], min(box[2], size[0]), min(box[3], size[1]))


def decode_photo(
    jpeg: bytes, *, photo: tuple[int, int], scaled: tuple[int, int], decoding: Decoding
) -> tuple[Image.Image, tuple[float, float]]:
    """Return RGB pixels, and the (width, height) in them that the photo takes: the last may be cut short.

    Args:
      jpeg: the photo; grey and CMYK become RGB.
      photo: the (height, width) that its record says.
      scaled: the (height, width) that the whole photo is scaled to afterwards, which says how many pixels suffice.
      decoding: whether all are decoded nevertheless.

    Raises:
      PhotoError: neither a JPEG nor an 8-bit PNG, truncated, or not of the size `photo`.
    """
    height, width = photo
    # PNGs, what libjpeg-turbo refuses or warns of, and CMYK are left to PIL: it decodes it, or says what is wrong.
    with contextlib.suppress(ValueError):
        stored_height, stored_width, colours, _ = simplejpeg.decode_jpeg_header(jpeg)
        if (stored_height, stored_width) == (height, width) and height * width <= MAX_PIXELS and colours in _COLOURS:
            eighths = _eighths(photo, scaled) if decoding is Decoding.SCALED else 8
            pixels = simplejpeg.decode_jpeg(
                jpeg, min_height=math.ceil(height * eighths / 8), min_width=math.ceil(width * eighths / 8)
            )
            return Image.fromarray(pixels), (width * eighths / 8, height * eighths / 8)
    return open_photo(jpeg, height=height, width=width), (float(width), float(height))


def _eighths(photo: tuple[int, int], scaled: tuple[int, int]) -> int:
    """Return the smallest number of eighths per side from which `scaled` can be scaled down."""
    scale = max(scaled[0] / photo[0], scaled[1] / photo[1])
    return next((eighths for eighths, spare in _EIGHTHS.items() if eighths / 8 >= spare * scale), 8)
