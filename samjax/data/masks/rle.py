"""Masks as compressed COCO run lengths.

A mask is stored column by column as alternating runs of outside and inside pixels, the first run outside. Each run is
written five bits a character, least significant first; from the fourth run on it is the difference to the run two
before. The C code of pycocotools trusts its input, so nothing read from a file goes there: runs are checked and
expanded here, in compiled loops.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from pycocotools import mask as coco

from samjax.data.masks import rle_kernels
from samjax.data.masks.rle_kernels import MAX_PIXELS, Verdict

_MAX_COUNTS = 2**26  # characters

_REASONS = {
    Verdict.EMPTY: "counts are empty",
    Verdict.OUTSIDE_CODE: "counts hold a character outside the code",
    Verdict.UNFINISHED: "counts end inside a number",
    Verdict.TOO_LARGE: "counts hold a number too large for a run",
    Verdict.NEGATIVE: "counts hold a negative run",
}


class RleError(ValueError):
    """A run-length mask that does not describe a mask; the message says why."""


class Codes(NamedTuple):
    """The counts of several masks, concatenated for the compiled loops."""

    characters: UInt8[np.ndarray, "characters"]
    ends: Int64[np.ndarray, "masks"]
    """Where in `characters` each mask ends."""


class Scan(NamedTuple):
    """What `scan` found in each of several masks."""

    verdicts: Int64[np.ndarray, "masks"]
    """A `Verdict` each; the other columns are meant where it is GOOD."""
    pixels: Int64[np.ndarray, "masks"]
    """Pixels the runs sum to."""
    runs: Int64[np.ndarray, "masks"]
    areas: Int64[np.ndarray, "masks"]
    """Pixels inside."""


def check_size(height: int, width: int) -> None:
    """Raise RleError unless `height` x `width` is a size a mask can have."""
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise RleError(f"size {height} x {width} is not between 1 and {MAX_PIXELS:,} pixels")


def join(counts: Sequence[str | bytes]) -> Codes:
    """Return the counts of several masks together.

    Raises:
      RleError: counts that are too long, or not of ASCII characters, with the mask's index.
    """
    parts = []
    for index, code in enumerate(counts):
        if len(code) > _MAX_COUNTS:
            raise RleError(f"annotation {index}: counts are {len(code):,} characters long, more than {_MAX_COUNTS:,}")
        try:
            parts.append(code.encode("ascii") if isinstance(code, str) else code)
        except UnicodeEncodeError as error:
            raise RleError(f"annotation {index}: {_REASONS[Verdict.OUTSIDE_CODE]}") from error
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return Codes(np.frombuffer(b"".join(parts), np.uint8), ends)


def scan(codes: Codes, *, height: int, width: int) -> Scan:
    """Judge and measure masks of `height` x `width` pixels, none of which need be one.

    Raises:
      RleError: not a size a mask can have.
    """
    check_size(height, width)
    found = Scan(*np.zeros((4, len(codes.ends)), np.int64))
    rle_kernels.scan(codes.characters, codes.ends, height * width, *found)
    return found


def measure(codes: Codes, *, height: int, width: int) -> Int64[np.ndarray, "masks"]:
    """Return the pixels inside each mask, after checking that all cover `height` x `width` pixels.

    Raises:
      RleError: the first mask that does not, by its index, and why: a character outside the code, an unfinished or
        oversized number, a negative run, or runs that do not sum to the size.
    """
    found = scan(codes, height=height, width=width)
    wrong = np.flatnonzero(found.verdicts)
    if wrong.size:
        reason = _reason(found, int(wrong[0]), height=height, width=width)
        raise RleError(f"annotation {wrong[0]}: {reason}")
    return found.areas


def _reason(found: Scan, index: int, *, height: int, width: int) -> str:
    verdict = Verdict(int(found.verdicts[index]))
    if verdict is Verdict.MISMATCH:
        return f"runs cover {found.pixels[index]:,} pixels but size says {height} x {width}"
    return _REASONS[verdict]


def parse_runs(counts: str | bytes, *, height: int, width: int) -> Int64[np.ndarray, "runs"]:
    """Return the run lengths written in `counts`, which cover `height` x `width` pixels.

    Raises:
      RleError: as `measure`, without an index.
    """
    try:
        codes = join([counts])
    except RleError as error:
        raise RleError(str(error).removeprefix("annotation 0: ")) from error
    found = scan(codes, height=height, width=width)
    if found.verdicts[0]:
        raise RleError(_reason(found, 0, height=height, width=width))
    runs = np.empty(found.runs[0], np.int64)
    rle_kernels.expand(codes.characters, runs)
    return runs


def area(runs: Int64[np.ndarray, "runs"]) -> int:
    """Return the number of pixels inside the mask with these run lengths."""
    return int(runs[1::2].sum())


def decode(counts: str | bytes, *, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """Return the mask written in `counts`.

    Raises:
      RleError: as `parse_runs`.
    """
    runs = parse_runs(counts, height=height, width=width)
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T


def encode(mask: Bool[np.ndarray, "h w"]) -> dict[str, Any]:
    """Return `mask` as SA-1B writes it: `{"size": [h, w], "counts": text}`."""
    rle: Any = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode("ascii")}


def encode_runs(runs: Int64[np.ndarray, "runs"], *, height: int, width: int) -> dict[str, Any]:
    """Return the mask of `height` x `width` pixels with these run lengths as SA-1B writes it.

    A last run of no pixels is left out, as `encode` has none.

    Raises:
      RleError: they do not cover that many pixels.
    """
    if (runs < 0).any() or runs.sum() != height * width:
        raise RleError(f"runs cover {runs.sum():,} pixels but size says {height} x {width}")
    counts = runs[:-1] if len(runs) > 1 and runs[-1] == 0 else runs
    rle: Any = coco.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}
