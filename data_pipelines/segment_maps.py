"""Objects of a photo -> a map in which each pixel has one segment, with the segment's class."""

from typing import Any

import numpy as np

from data_pipelines.annotated_photo import AnnotatedPhoto, ObjectMask
from samjax.core.errors import UserError
from samjax.data.classes.class_table import ClassTable
from samjax.data.masks import rle
from samjax.data.records import segments
from samjax.data.records.png_map import encode_map

_IGNORED = -1
"""Of pixels, while segments are painted."""


def check_categories(photos: list[AnnotatedPhoto], classes: ClassTable) -> None:
    """Refuse objects of categories that the table does not have.

    Raises:
      UserError: it lacks some; the message gives them, and the first photo of each.
    """
    first: dict[int, str] = {}
    for photo in photos:
        for value in map(_value, photo.masks):
            if value not in classes.numbers:
                first.setdefault(value, photo.path)
    if first:
        shown = ", ".join(f"{value} (in {path})" for value, path in sorted(first.items())[:5])
        more = f" and {len(first) - 5} more" if len(first) > 5 else ""
        raise UserError(
            f"the table of classes does not have the values {shown}{more}: add each to a class, or to `ignore`"
        )


def absent_classes(photos: list[AnnotatedPhoto], classes: ClassTable) -> list[str]:
    """Return the names of the classes that no object is of; the background is of none and may be anywhere."""
    found = {classes.numbers[_value(mask)] for photo in photos for mask in photo.masks}
    return [
        one.name for number, one in enumerate(classes.classes) if number not in found and one.name != classes.background
    ]


def segment_record(photo: AnnotatedPhoto, classes: ClassTable, identity: dict[str, Any]) -> segments.Record:
    """Return the record of a photo whose objects have categories of `classes`.

    Where objects overlap, the smaller one is seen: a cup stands on the table that it is drawn over. Pixels of ignored
    objects are of no segment. Those of no object are of the table's background, or of no segment where it has none. An
    object of which nothing is seen has no segment.
    """
    ids = np.zeros((photo.height, photo.width), np.int32)
    found = []
    for mask in sorted(photo.masks, key=lambda one: (-_area(one, photo), one.id)):
        inside, place = rle.decode(mask.counts, height=photo.height, width=photo.width), classes.numbers[_value(mask)]
        if place == segments.UNLABELLED:
            ids[inside] = _IGNORED
            continue
        ids[inside] = len(found) + 1
        thing = classes.classes[place].thing
        found.append(segments.Segment(id=len(found) + 1, category=place, thing=thing, crowd=mask.crowd))
    if classes.background:
        ids[ids == segments.VOID] = len(found) + 1
        found.append(segments.Segment(id=len(found) + 1, category=classes.names.index(classes.background)))
    ids[ids == _IGNORED] = segments.VOID
    seen = set(np.unique(ids).tolist())
    kept = tuple(one for one in found if one.id in seen)
    return segments.Record(**identity, png=encode_map(ids), segments=kept)


def _value(mask: ObjectMask) -> int:
    assert mask.category is not None, "only records with classes have segments"
    return mask.category


def _area(mask: ObjectMask, photo: AnnotatedPhoto) -> int:
    return rle.area(rle.parse_runs(mask.counts, height=photo.height, width=photo.width))
