"""Masks as compressed COCO run lengths.

A mask is stored column by column as alternating runs of outside and inside pixels, the first run outside. Each run is
written five bits a character, least significant first; from the fourth run on it is the difference to the run two
before. The C code of pycocotools trusts its input, so nothing read from a file goes there: runs are checked and
expanded here, at the same speed.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int64
from pycocotools import mask as coco

MAX_PIXELS = 2**26  # 67 million: twenty times a photo of SA-1B
_MAX_COUNTS = 2**26  # characters
_MAX_DIGITS = 6  # of 5 bits each: sign and 29 bits, above MAX_PIXELS


class RleError(ValueError):
    """A run-length mask that does not describe a mask; the message says why."""


def check_size(height: int, width: int) -> None:
    """Raise RleError unless `height` x `width` is a size a mask can have."""
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise RleError(f"size {height} x {width} is not between 1 and {MAX_PIXELS:,} pixels")


def parse_runs(counts: str | bytes, *, height: int, width: int) -> Int64[np.ndarray, "runs"]:
    """Return the run lengths written in `counts`, which cover `height` x `width` pixels.

    Raises:
      RleError: a character outside the code, an unfinished or oversized number, a negative run, or runs that do not
        sum to the size.
    """
    check_size(height, width)
    if len(counts) > _MAX_COUNTS:
        raise RleError(f"counts are {len(counts):,} characters long, more than {_MAX_COUNTS:,}")
    try:
        data = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError as error:
        raise RleError("counts hold a character outside the code") from error
    digits = np.frombuffer(data, np.uint8).astype(np.int64) - 48
    if digits.size == 0:
        raise RleError("counts are empty")
    if digits.min() < 0 or digits.max() > 63:
        raise RleError("counts hold a character outside the code")
    ends = np.flatnonzero(digits < 32)  # bit 5 says that the number goes on
    if ends.size == 0 or ends[-1] != digits.size - 1:
        raise RleError("counts end inside a number")
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_DIGITS:
        raise RleError("counts hold a number too large for a run")
    place = np.arange(digits.size) - np.repeat(starts, lengths)
    runs = np.add.reduceat((digits & 31) << (5 * place), starts)
    negative = (digits[ends] & 16) != 0
    runs -= np.where(negative, np.int64(1) << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if runs.min() < 0:
        raise RleError("counts hold a negative run")
    if runs.max() > MAX_PIXELS or runs.sum() != height * width:
        raise RleError(f"runs cover {runs.sum():,} pixels but size says {height} x {width}")
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
