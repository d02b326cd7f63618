"""Depth maps of photos: grey PNGs, or NumPy's .npy, from files that nobody vouches for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from PIL import Image

from samjax.data.annotations.formats import FormatOptions
from samjax.data.annotations.images import ImageFolder
from samjax.data.annotations.map_files import find_map_files
from samjax.data.annotations.pngs import PngError, read_values
from samjax.data.annotations.problems import Problems
from samjax.data.annotations.progress import Progress, no_progress
from samjax.data.masks import rle
from samjax.data.photo import why_unreadable
from samjax.data.png_header import read_png_header

_ENDINGS = (".png", ".npy")
_COLOURS = {2: "RGB", 3: "coloured by a palette", 6: "RGBA"}
"""A PNG's types of colour that are no depth."""


class DepthMapError(ValueError):
    """A file that holds no depth; the message says why, without its name."""


class DepthPhoto(NamedTuple):
    """A photo, and the file of its depth."""

    path: str
    """In the folder of photos."""
    depth: str
    """The path of the file."""
    size: tuple[int, int]
    """(height, width) of both, by their headers."""


@dataclass(frozen=True, kw_only=True)
class DepthListing:
    """The photos of a data set with depth, in the order of their maps' paths."""

    photos: Sequence[DepthPhoto]
    left_out: Mapping[str, int]
    """What of the data is not in `photos`, and how much of it."""


def list_depth_maps(
    path: str | Path,
    *,
    images: ImageFolder,
    options: FormatOptions,
    allow_missing: bool = False,
    allow_unannotated: bool = False,
    progress: Progress = no_progress,
) -> DepthListing:
    """List the depth maps under `path` and their photos; of each file the header is read.

    Maps and photos belong together as `find_map_files` says. Maps are files that end on
    `options.map_suffix`, or, where that is `.png`, on `.npy` too.

    Args:
      path: the folder of maps.
      images: the photos.
      options: of which suffixes and `photos_from` count.
      allow_missing: leave out and count what is missing or cannot be used.
      allow_unannotated: leave out and count photos without a map.
      progress: shows what is read.

    Raises:
      UserError: no such folder, no map in it, photos or maps without the other or of one name, maps that are no
        depth, or of another size than their photo.
    """
    endings = _ENDINGS if options.map_suffix.lower() == _ENDINGS[0] else (options.map_suffix,)
    problems = Problems(str(path))
    photos, maps = find_map_files(
        path, images=images, options=options, endings=endings, kind="depth maps", problems=problems
    )
    found = []
    with progress("depth maps", total=len(maps)) as watch:
        for one in maps:
            watch(1)
            try:
                size = depth_map_size(one.path)
            except DepthMapError as error:
                problems.add("depth maps that cannot be used", f"{one.name}: {error}")
                continue
            if photos.is_of_size(one.photo, size, kind="depth maps", called=one.name):
                found.append(DepthPhoto(path=one.photo, depth=str(one.path), size=size))
    left_out = problems.settle(allow_missing=allow_missing, allow_unannotated=allow_unannotated)
    return DepthListing(photos=found, left_out=left_out)


def depth_map_size(path: Path) -> tuple[int, int]:
    """Return the (height, width) of a depth map, by its header.

    Raises:
      DepthMapError: it cannot be read, is too large, or is a picture of colours.
    """
    try:
        if path.suffix.lower() == ".npy":
            return _open_array(path).shape
        with open(path, "rb") as file, Image.open(file, formats=["PNG"]) as picture:
            size = (picture.height, picture.width)
            rle.check_size(*size)
            header = read_png_header(file)
    except (DepthMapError, rle.RleError) as error:
        raise DepthMapError(str(error)) from error
    except FileNotFoundError:
        raise DepthMapError("there is no such file") from None
    except Exception as error:  # for broken files PIL raises OSError, SyntaxError, struct.error, ...
        raise DepthMapError(f"it cannot be read as PNG: {why_unreadable(error, name=str(path))}") from error
    if header is None or header.colour_type in _COLOURS:
        what = "without a header" if header is None else _COLOURS[header.colour_type]
        raise DepthMapError(
            f"it is {what}, but depth is grey of 8 or 16 bits, or .npy: save the numbers, not a picture"
        )
    return size


def read_depth_map(path: Path) -> Shaped[np.ndarray, "h w"]:
    """Return the numbers in a depth map as its file has them: whole, or float32.

    Raises:
      DepthMapError: see `depth_map_size`; or its alpha channel says something.
    """
    depth_map_size(path)
    if path.suffix.lower() != ".npy":
        try:
            return read_values(path)
        except PngError as error:
            raise DepthMapError(str(error)) from error
    numbers = np.array(_open_array(path))
    return numbers.astype(np.float32) if numbers.dtype.kind == "f" else numbers


def _open_array(path: Path) -> np.ndarray:
    """Return the array in a .npy, of which nothing is read yet.

    Raises:
      DepthMapError: it is no map of numbers, or too large.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DepthMapError("there is no such file") from None
    except Exception as error:  # for broken files NumPy raises ValueError, EOFError, SyntaxError, ...
        raise DepthMapError(f"it cannot be read as .npy ({error})") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf" or array.ndim != 2 or not array.size:
        what = f"{array.dtype} of {array.shape}" if isinstance(array, np.ndarray) else "no array"
        raise DepthMapError(f"it holds {what}, expected numbers of height x width")
    rle.check_size(*array.shape)
    return array
