"""Specks: small holes of a mask filled, small islands removed (Segment Anything, appendix B)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

_TOUCHING = np.ones((3, 3), bool)  # also at their corners


@dataclass(frozen=True, kw_only=True)
class CleanMask:
    """A mask without specks, and whether that is another one than before."""

    mask: Bool[np.ndarray, "h w"]
    differs: bool


def without_specks(mask: Bool[np.ndarray, "h w"], *, min_area: int) -> CleanMask:
    """Fill holes of fewer than `min_area` pixels, then remove such islands; the largest stays if all are small.

    As published, what surrounds a mask is one of its holes, and a mask that is one small island counts as changed.
    """
    window = _window(mask, min_area=min_area)
    part = mask[window.rows, window.columns]
    labels, sizes = _regions(~part)
    for side in window.open_sides:
        sizes[labels[side].max() - 1] = min_area  # goes on beyond the window; all of this side is one hole
    holes = sizes < min_area
    filled = part | np.r_[False, holes][labels]

    labels, sizes = _regions(filled)
    islands = sizes < min_area
    changed = bool(holes.any() or islands.any())
    if islands.any() and islands.all():
        islands[np.argmax(sizes)] = False
    cleaned = mask.copy()
    cleaned[window.rows, window.columns] = filled & ~np.r_[False, islands][labels]
    return CleanMask(mask=cleaned, differs=changed)


@dataclass(frozen=True, kw_only=True)
class _Window:
    """The part of a photo to look at, and its sides, as indices, beyond which there is more."""

    rows: slice
    columns: slice
    open_sides: tuple[Any, ...]


def _window(mask: Bool[np.ndarray, "h w"], *, min_area: int) -> _Window:
    """Return the mask's box and the pixels around it, if what lies beyond each side is no small hole; else all."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows):
        (height, width), top, left = mask.shape, max(int(rows[0]) - 1, 0), max(int(columns[0]) - 1, 0)
        bottom, right = min(int(rows[-1]) + 2, height), min(int(columns[-1]) + 2, width)
        beyond = [
            (np.s_[0, :], top * width),
            (np.s_[-1, :], (height - bottom) * width),
            (np.s_[:, 0], left * (bottom - top)),
            (np.s_[:, -1], (width - right) * (bottom - top)),
        ]
        if all(pixels == 0 or pixels >= min_area for _, pixels in beyond):
            open_sides = tuple(side for side, pixels in beyond if pixels)
            return _Window(rows=slice(top, bottom), columns=slice(left, right), open_sides=open_sides)
    return _Window(rows=slice(None), columns=slice(None), open_sides=())


def _regions(inside: Bool[np.ndarray, "h w"]) -> tuple[np.ndarray, np.ndarray]:
    """Return which region each pixel is in, 0 of none, and the pixels of each from 1 on."""
    labels, count = ndimage.label(inside, _TOUCHING)  # type: ignore[misc]
    return labels, np.bincount(labels.ravel(), minlength=count + 1)[1:]
