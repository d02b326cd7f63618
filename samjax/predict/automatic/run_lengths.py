"""Masks drawn on device as the run lengths of a photo."""

from typing import Any

import numpy as np
from jaxtyping import Bool, UInt32

from samjax.data.masks.rle import encode_runs
from samjax.predict.automatic.crops import Crop
from samjax.predict.automatic.tiles import TILE


def encode_words(
    words: UInt32[np.ndarray, "th tw columns"], *, box: tuple[int, int, int, int], crop: Crop, photo: tuple[int, int]
) -> dict[str, Any]:
    """Return a crop's mask, see `mask_statistics.draw`, as SA-1B writes it at the size of the `photo`, (h, w).

    `box` is the mask's, in the crop, the last pixels included: columns beside it hold no run and are not looked at.
    """
    first, last = box[0], box[2] + 1
    left = first // TILE
    columns = np.ascontiguousarray(words[:, left : -(-last // TILE)].transpose(1, 2, 0)).astype("<u4")
    bits = np.unpackbits(columns.view(np.uint8).reshape(-1, words.shape[0] * 4), axis=1, bitorder="little")
    inside = bits[first - left * TILE : last - left * TILE, : crop.height].astype(bool)
    return encode_columns(inside, corner=(crop.x0 + first, crop.y0), photo=photo)


def encode_columns(
    inside: Bool[np.ndarray, "w h"], *, corner: tuple[int, int], photo: tuple[int, int]
) -> dict[str, Any]:
    """Return a part of a mask, column by column, whose upper left pixel is at `corner` (x, y), in a `photo` (h, w)."""
    (x, y), (height, width) = corner, photo
    columns, rows = inside.shape
    framed = np.zeros((columns, rows + 2), bool)  # a pixel outside above and below each column
    framed[:, 1:-1] = inside
    column, row = np.nonzero(framed[:, 1:] != framed[:, :-1])
    changes = (x + column) * height + y + row
    # A column that ends inside and one that begins inside, at the photo's edges, are one run.
    once = np.ones(len(changes), bool)
    joined = np.flatnonzero(changes[1:] == changes[:-1])
    once[joined] = once[joined + 1] = False
    return encode_runs(np.diff(changes[once], prepend=0, append=height * width), height=height, width=width)
