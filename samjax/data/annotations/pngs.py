"""PNGs that say which object each pixel is of, from files that nobody vouches for."""

import itertools
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Int32, Shaped
from PIL import Image

from samjax.data.bit_depth import sixteen_bits
from samjax.data.masks import rle
from samjax.data.photo import why_unreadable
from samjax.data.png_header import read_png_header

_KINDS = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
"""PIL's names of a PNG's types of colour."""
_AT_ONCE = 8
"""PNGs decoded at the same time: each may take a few hundred MB at `MAX_PIXELS`."""

T = TypeVar("T")
R = TypeVar("R")


class PngError(ValueError):
    """A PNG, or another file of a map, that says nothing of objects; the message says why, without its name."""


class Segment(NamedTuple):
    """All pixels of one value."""

    value: int
    segmentation: dict[str, Any]
    """Compressed run lengths."""


class _Png(NamedTuple):
    """The numbers of a PNG as its file has them: PIL scales grey of 2 and 4 bits, and halves colours of 16."""

    kind: str
    numbers: Shaped[np.ndarray, "h w *channels"]
    """Grey [h w], colours [h w 3], or of a palette the indices [h w]."""
    colours: Shaped[np.ndarray, "h w *channels"]
    """The same, but of a palette its colours."""
    alpha: Shaped[np.ndarray, "h w"] | None
    """0 where nothing shows."""


def read_values(path: Path) -> Int32[np.ndarray, "h w"]:
    """Return the numbers in a grey PNG of 1, 2, 4, 8 or 16 bits, as the file has them, or the indices of a palette.

    Raises:
      PngError: the file cannot be read, is too large, is coloured, or has an alpha channel that says something.
    """
    png = _read(path)
    if png.kind.startswith("RGB"):
        raise PngError(f"it is {png.kind}, not grey and without a palette")
    if png.kind == "LA":
        _refuse_alpha(png)
    return png.numbers.astype(np.int32)


def read_colours(path: Path) -> Int32[np.ndarray, "h w"]:
    """Return red + 256 green + 65536 blue, as COCO's panoptic PNGs number segments.

    Raises:
      PngError: the file cannot be read, is too large, is not coloured, holds numbers above 255, or has an alpha channel
        that says something.
    """
    png = _read(path)
    if not png.kind.startswith("RGB"):
        raise PngError(f"it is {png.kind}, not RGB")
    _refuse_alpha(png)
    if png.numbers.max() > 255:
        raise PngError(f"it holds {png.numbers.max():,} in a channel, expected 255 at most")
    red, green, blue = np.moveaxis(png.numbers.astype(np.int32), -1, 0)
    return red + 256 * green + 65536 * blue


def read_mask(path: Path) -> Bool[np.ndarray, "h w"]:
    """Return where a PNG is not black; or, where it has one colour alone, where its alpha channel is not 0.

    Transparency by a palette or a colour counts as an alpha channel.

    Raises:
      PngError: the file cannot be read or is too large; its colours and its alpha channel show different masks.
    """
    png = _read(path)
    coloured = (png.colours if png.colours.ndim == 2 else png.colours.max(axis=-1)) > 0
    if png.alpha is None or (png.alpha.min() == png.alpha.max() > 0):
        return coloured
    opaque = png.alpha > 0
    if (png.colours == png.colours[0, 0]).all():
        if opaque.all():
            raise PngError("it has one colour, and its alpha channel is 0 nowhere: save the object as grey, 0 outside")
        return opaque
    if (coloured != opaque).any():
        raise PngError(
            "its alpha channel and its colours show different masks: save the one that is meant as grey, 0 outside"
        )
    return coloured


def _refuse_alpha(png: _Png) -> None:
    if png.alpha is not None and png.alpha.min() < png.alpha.max():
        raise PngError("its alpha channel says something, which would be dropped: save it without one")


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


def _read(path: Path) -> _Png:
    try:
        with open(path, "rb") as file, Image.open(file, formats=["PNG"]) as picture:
            rle.check_size(picture.height, picture.width)  # before a pixel is decoded
            return _decode(file, picture)
    except rle.RleError as error:
        raise PngError(f"its {error}") from error
    except FileNotFoundError:
        raise PngError("there is no such file") from None
    except Exception as error:  # for broken files PIL raises OSError, SyntaxError, struct.error, ...
        raise PngError(f"it cannot be read as PNG: {why_unreadable(error, name=str(path))}") from error


def _decode(file: BufferedReader, picture: Image.Image) -> _Png:
    header = read_png_header(file)
    if header is None:
        raise PngError("it cannot be read as PNG: it has no header")
    kind = _KINDS[header.colour_type]
    transparent = picture.info.get("transparency")
    if kind.startswith(("RGB", "LA")):
        deep = header.bits == 16
        pixels = sixteen_bits(file, turned=lambda one: one) if deep else np.asarray(picture)
        numbers = pixels[..., 0] if kind == "LA" else pixels[..., :3]
        alpha = pixels[..., -1] if kind.endswith("A") else None
        if transparent is not None:
            alpha = (numbers != np.array(transparent)).any(axis=-1).astype(np.uint8)
        return _Png(kind, numbers, numbers, alpha)
    numbers = np.asarray(picture)
    if kind == "P":
        rgba = np.asarray(picture.convert("RGBA"))
        return _Png(kind, numbers, rgba[..., :3], None if transparent is None else rgba[..., 3])
    if header.bits < 8:
        numbers = numbers.astype(np.uint8) // (1 if header.bits == 1 else 255 // (2**header.bits - 1))  # PIL's scale
    if transparent is None:
        return _Png(kind, numbers, numbers, None)
    key = min(transparent, 1) if header.bits == 1 else transparent
    return _Png(kind, numbers, numbers, (numbers != key).astype(np.uint8))
