"""One object's mask as COCO writes it: polygons, or run lengths as numbers or as text."""

from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco

from samjax.data.annotations.annotation_json import is_number, is_whole
from samjax.data.annotations.problems import quote
from samjax.data.masks import rle

_LONGEST_OUTLINE = 2**22
"""Pixels; pycocotools takes some fifty bytes for each."""
_LEAST = 6
"""Numbers of a polygon: three corners, x and y each."""


class CocoMask(NamedTuple):
    """A mask as compressed run lengths, and how many parts of its outline are no polygon and were dropped."""

    segmentation: dict[str, Any]
    dropped_parts: int = 0


def parse_mask(given: Any, *, height: int, width: int) -> CocoMask:
    """Return the mask that `given`, an annotation's `segmentation`, is for an image of `height` x `width`.

    A part of the outline with fewer than three corners is dropped if another has more: the object keeps the rest.

    Raises:
      ValueError: it is no mask of that size; the message says why. RleError where its runs say so, OverflowError where
        a number is too large.
    """
    rle.check_size(height, width)
    if isinstance(given, list):
        return _draw(given, height=height, width=width)
    if not isinstance(given, dict):
        raise ValueError(f"segmentation is {quote(given)}, but must be a list of polygons or run lengths")
    for key in ("size", "counts"):
        if key not in given:
            raise ValueError(f"its run lengths have no {key!r}: they are {quote(given)}")
    size, counts = given["size"], given["counts"]
    if not isinstance(size, list) or size != [height, width] or not all(map(is_number, size)):
        raise ValueError(f"its size is {quote(size)}, the image's {[height, width]}, height first")
    if isinstance(counts, list):
        for run in counts:
            if not is_whole(run) or not 0 <= run <= height * width:
                raise ValueError(f"its runs are not whole numbers from 0 to {height * width:,}: one is {quote(run)}")
        return CocoMask(rle.encode_runs(np.array(counts, np.int64), height=height, width=width))
    if not isinstance(counts, str):
        raise ValueError(f"its counts are {quote(counts)}, but must be text or a list")
    rle.parse_runs(counts, height=height, width=width)
    return CocoMask({"size": [height, width], "counts": counts})


def _draw(given: list[Any], *, height: int, width: int) -> CocoMask:
    """Return the mask inside polygons, each a list of x, y, x, y, ..."""
    if not given:
        raise ValueError("segmentation is empty")
    for polygon in given:
        if not isinstance(polygon, list):
            raise ValueError(
                f"segmentation is a list that holds {quote(polygon)}, but must hold polygons, each a list of x, y, x, "
                "y, ...; run lengths stand alone, in no list"
            )
        if not set(map(type, polygon)) <= {int, float}:
            wrong = next(side for side in polygon if type(side) not in (int, float))
            raise ValueError(f"a polygon holds {quote(wrong)}, but must hold numbers alone: x, y, x, y, ...")
    corners = [[float(side) for side in polygon] for polygon in given if len(polygon) >= _LEAST]
    wrong = next((polygon for polygon in given if len(polygon) >= _LEAST and len(polygon) % 2), None)
    if not corners or wrong is not None:
        numbers = len(given[0] if wrong is None else wrong)
        raise ValueError(f"a polygon needs three corners, x and y each, and one has {numbers:,} numbers")
    far = next((side for polygon in corners for side in polygon if not abs(side) <= 2 * max(height, width)), None)
    if far is not None:
        raise ValueError(f"a polygon has a corner far outside {height} x {width}: {quote(far)}")
    if sum(map(_outline, corners)) > _LONGEST_OUTLINE:
        raise ValueError(f"its outline is longer than {_LONGEST_OUTLINE:,} pixels")
    parts: Any = coco.frPyObjects(corners, height, width)  # type: ignore[arg-type]
    merged: Any = coco.merge(parts)
    segmentation = {"size": [height, width], "counts": merged["counts"].decode("ascii")}
    return CocoMask(segmentation, dropped_parts=len(given) - len(corners))


def _outline(polygon: list[float]) -> float:
    """Return a polygon's length as it is drawn: the larger of its steps in x and y, summed."""
    corners = np.array(polygon).reshape(-1, 2)
    return float(np.abs(np.roll(corners, -1, axis=0) - corners).max(axis=1).sum())
