"""Photos with the class of every pixel, from prepared records, to be evaluated on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16, UInt8

from samjax.data.classes.record_classes import read_record_classes
from samjax.data.records import masks, segments
from samjax.data.records.schema import RecordError
from samjax.data.segments.segment_data import object_classes
from samjax.eval.record_photos import RecordPhoto, open_record_photos

OF_MASKS = ("background", "object")
"""The classes of records of masks: where none is, and where one is."""


@dataclass(frozen=True, kw_only=True)
class ClassedPhotos:
    """The photos of a split, and the names of their classes."""

    name: str
    photos: Sequence[RecordPhoto]
    classes: tuple[str, ...]


def read_classes(photo: RecordPhoto) -> tuple[UInt8[np.ndarray, "h w 3"], Int16[np.ndarray, "h w"]]:
    """Return a photo's pixels as stored, and the class of each, -1 where it has none.

    Raises:
      UserError: the record is damaged.
    """
    record = photo.record()
    try:
        classes = object_classes(record) if isinstance(record, masks.Record) else record.classes()
    except RecordError as error:
        raise photo.damage(error) from error
    return photo.pixels(record), classes


def open_classed_photos(path: str, *, split: str, limit: int | None = None) -> ClassedPhotos:
    """Return the photos of a split of records of segments, or of masks, which have two classes: `OF_MASKS`.

    Raises:
      UserError: there are no such records, or one is damaged.
    """
    schema, photos = open_record_photos(
        path,
        split=split,
        schemas=(segments.SCHEMA, masks.SCHEMA),
        expectation="records of `samjax data prepare --classes`, or of masks",
        limit=limit,
    )
    classes = read_record_classes(path).names if schema is segments.SCHEMA else OF_MASKS
    return ClassedPhotos(name=split, photos=photos, classes=classes)
