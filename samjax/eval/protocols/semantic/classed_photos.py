"""Photos with the class of every pixel, from prepared records, to be evaluated on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int16, UInt8

from samjax.core.errors import UserError
from samjax.data.classes.record_classes import read_record_classes
from samjax.data.photo import Orientation, read_photo
from samjax.data.records import masks, photos, segments
from samjax.data.records.schema import RecordError, Schema
from samjax.data.segments.segment_data import object_classes
from samjax.data.stream.sources import RecordSource, open_info, open_source, schema_of

OF_MASKS = ("background", "object")
"""The classes of records of masks: where none is, and where one is."""


@dataclass(frozen=True, kw_only=True)
class ClassedPhoto:
    """One photo, whose record is read when it is needed."""

    source: RecordSource
    schema: Schema
    index: int
    image_id: int
    name: str
    fingerprint: str
    """Changes where the record does."""

    @property
    def key(self) -> str:
        """What an evaluation's folder calls it."""
        return str(self.image_id)

    def read(self) -> tuple[UInt8[np.ndarray, "h w 3"], Int16[np.ndarray, "h w"]]:
        """Return its pixels as stored, and the class of each, -1 where it has none.

        Raises:
          UserError: the record is damaged.
        """
        try:
            record = self.schema.decode(self.source[self.index])
            classes = object_classes(record) if isinstance(record, masks.Record) else record.classes()
        except RecordError as error:
            raise UserError(f"{self.source.name}, {self.name}: {error}") from error
        size = (record.height, record.width)
        return read_photo(record.jpeg, name=self.name, orientation=Orientation.STORED, size=size), classes


@dataclass(frozen=True, kw_only=True)
class ClassedPhotos:
    """The photos of a split, and the names of their classes."""

    name: str
    photos: Sequence[ClassedPhoto]
    classes: tuple[str, ...]


def open_classed_photos(path: str, *, split: str, limit: int | None = None) -> ClassedPhotos:
    """Return the photos of a split of records of segments, or of masks, which have two classes: `OF_MASKS`.

    Raises:
      UserError: there are no such records, or one is damaged.
    """
    info, folder = open_info(path, photos.SCHEMA)
    schema = schema_of(info)
    if schema not in (segments.SCHEMA, masks.SCHEMA):
        raise UserError(f"{folder} holds photos alone: give records of `samjax data prepare --classes`, or of masks")
    source = open_source(path, split, schema)
    found = []
    for index in range(len(source) if limit is None else min(limit, len(source))):
        data = source[index]
        try:
            record = schema.decode(data)
        except RecordError as error:
            raise UserError(f"{source.name}, record {index}: {error}") from error
        found.append(
            ClassedPhoto(
                source=source,
                schema=schema,
                index=index,
                image_id=record.image_id,
                name=record.file_name,
                fingerprint=f"{record.image_id} {hashlib.sha256(data).hexdigest()}",
            )
        )
    classes = read_record_classes(path).names if schema is segments.SCHEMA else OF_MASKS
    return ClassedPhotos(name=split, photos=found, classes=classes)
