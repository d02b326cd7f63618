"""What a mask must be before it is saved, and what is measured of it."""

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from samjax.annotate.photo_list import ListedPhoto
from samjax.annotate.refusals import InvalidMaskError
from samjax.annotate.saved_mask import Prompts, SavedMask
from samjax.data.masks import rle
from samjax.data.masks.deepest import deepest_pixel

SMALLEST_MASK = 10
"""Pixels that a person's mask has at least."""
_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_MOST_POINTS = 1_000
_LONGEST_NAME = 100


@dataclass(frozen=True, kw_only=True)
class MaskShape:
    """What SA-1B writes of a mask besides its runs."""

    area: int
    bbox: tuple[float, float, float, float]
    """(x, y, width, height), the last pixels inside included: a mask of one pixel has the width 0."""
    point: tuple[float, float]
    """(x, y): the first foreground click, else the deepest pixel."""


def check_mask(mask: SavedMask, photo: ListedPhoto) -> MaskShape:
    """Return the shape of a mask of `photo` after checking each of its fields.

    Raises:
      InvalidMaskError: which field is wrong, and what it must be.
    """
    check_uuid(mask.uuid)
    check_annotator(mask.annotator)
    for name in ("seconds", "active_seconds"):
        if not _is_finite(value := getattr(mask, name)) or value < 0:
            raise InvalidMaskError(f"{name} is {value!r}: give a number of seconds, 0 or more")
    if type(mask.clicks) is not int or mask.clicks < 0:
        raise InvalidMaskError(f"clicks is {mask.clicks!r}: give a count, 0 or more")
    for name in ("predicted_iou", "stability_score"):
        value = getattr(mask, name)
        if (value is None) != (mask.model is None):
            raise InvalidMaskError(f"{name} is {value!r} and model is {mask.model!r}: give both or neither")
        if value is not None and not (_is_finite(value) and abs(value) < 2**31):
            raise InvalidMaskError(f"{name} is {value!r}: give a finite number")
    _check_prompts(mask.prompts, photo)
    return shape_of(mask.runs, photo, smallest=SMALLEST_MASK, prompts=mask.prompts)


def shape_of(runs: Any, photo: ListedPhoto, *, smallest: int = 1, prompts: Prompts | None = None) -> MaskShape:
    """Return the shape of a mask after checking that its runs fill the photo.

    Raises:
      InvalidMaskError: they do not, or it has fewer pixels than `smallest`.
    """
    if not isinstance(runs, dict) or runs.keys() != {"size", "counts"} or not isinstance(runs["counts"], str):
        raise InvalidMaskError('runs are not {"size": [height, width], "counts": text}, compressed COCO run lengths')
    size = runs["size"]
    if size != [photo.height, photo.width] or not all(type(side) is int for side in size):
        raise InvalidMaskError(f"runs have the size {size!r}, the photo's is {[photo.height, photo.width]}")
    try:
        inside = rle.decode(runs["counts"], height=photo.height, width=photo.width)
    except rle.RleError as error:
        raise InvalidMaskError(f"runs are no mask of the photo: {error}") from error
    area = int(np.count_nonzero(inside))
    if area < smallest:
        raise InvalidMaskError(f"the mask has {area} pixels, fewer than {smallest}: draw a larger one")
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    left, top, right, bottom = (int(side) for side in (columns[0], rows[0], columns[-1], rows[-1]))
    clicks = [] if prompts is None else zip(prompts.points, prompts.labels, strict=True)
    click = next((point for point, label in clicks if label == 1), None)
    x, y = deepest_pixel(inside) if click is None else click
    return MaskShape(
        area=area,
        bbox=(float(left), float(top), float(right - left), float(bottom - top)),
        point=(float(x), float(y)),
    )


def check_uuid(uuid: Any) -> None:
    """Refuse what is no canonical lower-case text of a UUID4.

    Raises:
      InvalidMaskError: it is none.
    """
    if not isinstance(uuid, str) or not _UUID4.fullmatch(uuid):
        raise InvalidMaskError(f"{str(uuid)[:50]!r} is no UUID4 in lower case, such as crypto.randomUUID() gives")


def check_annotator(name: Any) -> None:
    """Refuse what is no name of a person.

    Raises:
      InvalidMaskError: it is none.
    """
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise InvalidMaskError(f"{str(name)[:50]!r} is no annotator's name: give 1 to {_LONGEST_NAME} characters")


def _check_prompts(prompts: Prompts, photo: ListedPhoto) -> None:
    points, labels, box = prompts.points, prompts.labels, prompts.box
    if len(points) > _MOST_POINTS or len(points) != len(labels):
        raise InvalidMaskError(
            f"there are {len(points):,} points and {len(labels):,} labels: give a label for each of at most "
            f"{_MOST_POINTS:,} points"
        )
    if not all(type(label) is int and label in (0, 1) for label in labels):
        raise InvalidMaskError("labels are 1, foreground, or 0, background")
    corners = [] if box is None else [box[:2], box[2:]]
    for place in [*points, *corners]:
        if len(place) != 2 or not all(map(_is_finite, place)):
            raise InvalidMaskError(f"{place!r} is no place in the photo: give (x, y)")
        if not (0 <= place[0] <= photo.width and 0 <= place[1] <= photo.height):
            raise InvalidMaskError(f"{place!r} is outside the photo, {photo.width} x {photo.height}: give pixels in it")


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
