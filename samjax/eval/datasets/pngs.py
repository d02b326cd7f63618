"""PNGs that say which object each pixel is of, from files that nobody vouches for."""

import itertools
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Int32
from PIL import Image

from samjax.data import rle

_GREY = ("1", "L", "P", "I;16", "I;16B", "I")
_COLOURED = ("RGB", "RGBA")
_AT_ONCE = 8
"""PNGs decoded at the same time: each may take a few hundred MB at `MAX_PIXELS`."""

T = TypeVar("T")
R = TypeVar("R")


class PngError(ValueError):
    """A PNG that says nothing of objects; the message says why, without its name."""


class Segment(NamedTuple):
    """All pixels of one value."""

    value: int
    segmentation: dict[str, Any]
    """Compressed run lengths."""


def read_values(path: Path) -> Int32[np.ndarray, "h w"]:
    """Return the values in a grey PNG of 1, 8 or 16 bits, or the indices in one with a palette.

    Raises:
      PngError: the file cannot be read, is too large, or is coloured.
    """
    values, mode = _read(path)
    if mode not in _GREY:
        raise PngError(f"it is {mode}, not grey and without a palette")
    return values.astype(np.int32)


def read_coloured(path: Path) -> Int32[np.ndarray, "h w"]:
    """Return red + 256 green + 65536 blue, as COCO's panoptic PNGs number segments.

    Raises:
      PngError: the file cannot be read, is too large, or is not coloured.
    """
    pixels, mode = _read(path)
    if mode not in _COLOURED:
        raise PngError(f"it is {mode}, not RGB")
    red, green, blue = np.moveaxis(pixels[..., :3].astype(np.int32), -1, 0)
    return red + 256 * green + 65536 * blue


def read_mask(path: Path) -> Bool[np.ndarray, "h w"]:
    """Return where a PNG is not black; an alpha channel says nothing.

    Raises:
      PngError: the file cannot be read or is too large.
    """
    pixels, mode = _read(path, colours=True)
    if mode in ("LA", "RGBA"):
        pixels = pixels[..., :-1]
    return (pixels if pixels.ndim == 2 else pixels.max(axis=-1)) > 0


def segments(values: Int32[np.ndarray, "h w"], *, without: Collection[int]) -> list[Segment]:
    """Return the pixels of each value that is not in `without`, by value.

    The map is walked once, however many values it has: its runs are sorted, not its pixels.
    """
    height, width = values.shape
    rle.check_size(height, width)
    flat = values.ravel(order="F")
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.concatenate([starts[1:], [flat.size]])
    order = np.argsort(flat[starts], kind="stable")
    starts, ends, of = starts[order], ends[order], flat[starts][order]
    borders = np.concatenate([[0], np.flatnonzero(of[1:] != of[:-1]) + 1, [len(of)]])
    found = []
    for first, last in itertools.pairwise(borders):
        if (value := int(of[first])) not in without:
            turns = np.column_stack([starts[first:last], ends[first:last]]).ravel()
            runs = np.diff(turns, prepend=0, append=flat.size)
            found.append(Segment(value, rle.encode_runs(runs, height=height, width=width)))
    return found


def read_all(read: Callable[[T], R], these: Sequence[T]) -> list[R | PngError]:
    """Return what `read` makes of each of `these`, in their order, several at a time; or why it does not."""

    def attempt(this: T) -> R | PngError:
        try:
            return read(this)
        except PngError as error:
            return error

    with ThreadPoolExecutor(min(_AT_ONCE, os.cpu_count() or 1)) as pool:
        return list(pool.map(attempt, these))


def _read(path: Path, *, colours: bool = False) -> tuple[np.ndarray, str]:
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            rle.check_size(picture.height, picture.width)  # before a pixel is decoded
            shown = picture.convert("RGB") if colours and picture.mode == "P" else picture
            return np.asarray(shown), shown.mode
    except rle.RleError as error:
        raise PngError(f"its {error}") from error
    except FileNotFoundError:
        raise PngError("there is no such file") from None
    except Exception as error:  # for broken files PIL raises OSError, SyntaxError, struct.error, ...
        raise PngError(f"it cannot be read as PNG: {error or type(error).__name__}") from error
