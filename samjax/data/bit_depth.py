"""Converts photos with more than eight bits per channel, as from microscopes and some cameras, to eight.

The rule. Which number is white is what the file says, where it does: a PNG by its chunk sBIT, a TIFF of 12 bits by its
BitsPerSample. Elsewhere it is the largest that 8, 10, 12, 14 or 16 bits hold, whichever are the first to hold the
photo's own maximum over its colours: whole numbers up to 255 stay as they are, of 10 bits or more the upper 8 are kept.
Floats from 0 to 1 are multiplied by 255 and rounded; floats that are whole count as whole numbers. Everything else is
refused: nothing is clipped.
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8, UInt16
from PIL import Image

from samjax.data.png_header import BinaryFile

_DEPTHS = (8, 10, 12, 14, 16)
_MOST = 2**16 - 1
_BITS_PER_SAMPLE = 258
"""A tag of TIFF."""
_NATIVE_LOW = ";16B" if sys.byteorder == "little" else ";16L"
_LOW_BYTES = {";16B": ";16L", ";16L": ";16B", ";16N": _NATIVE_LOW}
"""PIL's decoders take one byte of two: the high one, and of numbers in the other order of bytes the low one."""


class BitDepthError(ValueError):
    """A photo whose numbers are not shades of eight or sixteen bits; the message continues the photo's name."""


class Shades(NamedTuple):
    """The shades of a photo, 0 to 255, and how they were found."""

    pixels: UInt8[np.ndarray, "*shape"]
    highest: int
    """The photo's greatest number, rounded."""
    guessed_bits: int | None
    """How many bits its numbers were taken to have; None where nothing was guessed: the file says it, they are 16, or
    these are floats from 0 to 1."""


def to_eight_bits(numbers: Shaped[np.ndarray, "*shape"], *, bits: int | None = None) -> Shades:
    """Return the shades of `numbers`, whole or floats, by the rule above.

    Args:
      numbers: the photo's colours, alpha excluded.
      bits: how many the file says that each has, 1 to 16.

    Raises:
      BitDepthError: they are no shades.
    """
    kind = "whole numbers"
    if numbers.dtype.kind == "f":
        kind = "floats"
        if not np.isfinite(numbers).all():
            raise BitDepthError("holds NaN or infinity: replace those, and save it as 8 or 16 bits")
        if numbers.min() >= 0 and numbers.max() <= 1:
            return Shades(np.rint(255 * numbers).astype(np.uint8), round(numbers.max()), None)
    low, high = numbers.min(), numbers.max()
    if low < 0 or high > _MOST or (kind == "floats" and (numbers % 1).any()):
        raise BitDepthError(
            f"holds {kind} from {low:.6g} to {high:.6g}: expected whole numbers from 0 to {_MOST} or floats from 0 to "
            "1; scale it, and save it as 8 or 16 bits"
        )
    high = int(high)
    used = next(depth for depth in ((bits, 16) if bits else _DEPTHS) if high < 2**depth)
    shades = (numbers.astype(np.uint16) >> max(0, used - 8)).astype(np.uint8)
    return Shades(shades, high, used if bits is None and used < 16 else None)


def has_sixteen_bits(picture: Image.Image) -> bool:
    """Return whether each channel of a colour picture that is open has sixteen bits, of which PIL keeps eight.

    Raises:
      BitDepthError: it has, and PIL would take the wrong ones.
    """
    if any(";16" in mode for mode in _raw_modes(picture)):
        return True
    if picture.mode in ("RGB", "RGBA", "CMYK") and (tiff_bits(picture) or 8) > 8:
        raise BitDepthError(
            "is a TIFF that stores each colour apart with 16 bits: save it with its colours interleaved"
        )
    return False


def tiff_bits(picture: Image.Image) -> int | None:
    """Return how many bits a TIFF says that its numbers have, the most of any channel; None of other pictures."""
    bits = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE)
    return None if bits is None else int(np.max(bits))


def sixteen_bits(
    file: BinaryFile, *, turned: Callable[[Image.Image], Image.Image]
) -> UInt16[np.ndarray, "h w channels"]:
    """Return the numbers of the picture in `file` that `has_sixteen_bits`, with its alpha if it has one."""

    def decoded(change: Callable[[str], str]) -> np.ndarray:
        with Image.open(file) as picture:
            picture.tile = [tile._replace(args=_changed(tile.args, change)) for tile in picture.tile]
            return np.asarray(turned(picture)).astype(np.uint16)

    with Image.open(file) as picture:
        grey = any(mode.startswith("LA;16") for mode in _raw_modes(picture))
    if grey:  # a PNG of grey and alpha: two numbers of two bytes, as four of one
        bytes_ = decoded(lambda mode: "RGBA")
        numbers = bytes_[..., ::2] << 8 | bytes_[..., 1::2]
        return numbers[..., [0, 0, 0, 1]]
    return decoded(lambda mode: mode) << 8 | decoded(_low)


def _low(mode: str) -> str:
    return mode[:-4] + _LOW_BYTES[mode[-4:]]


def _raw_modes(picture: Image.Image) -> list[str]:
    args = [tile.args for tile in getattr(picture, "tile", [])]
    return [str(one if isinstance(one, str) else one[0]) for one in args if one]


def _changed(args: object, change: Callable[[str], str]) -> object:
    return change(args) if isinstance(args, str) else (change(args[0]), *args[1:])  # type: ignore[index]
