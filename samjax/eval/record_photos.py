"""Photos of prepared records to be evaluated on, each read when it is needed."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from samjax.core.errors import UserError
from samjax.data.photo import Orientation, read_photo
from samjax.data.records import photos
from samjax.data.records.schema import RecordError, Schema
from samjax.data.stream.sources import RecordSource, open_info, open_source, schema_of


@dataclass(frozen=True, kw_only=True)
class RecordPhoto:
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

    def record(self) -> Any:
        """Return its record.

        Raises:
          UserError: it is damaged.
        """
        try:
            return self.schema.decode(self.source[self.index])
        except RecordError as error:
            raise self.damage(error) from error

    def pixels(self, record: photos.Record) -> UInt8[np.ndarray, "h w 3"]:
        """Return the pixels of its `record` as stored.

        Raises:
          UserError: the photo is damaged.
        """
        size = (record.height, record.width)
        return read_photo(record.jpeg, name=self.name, orientation=Orientation.STORED, size=size)

    def damage(self, error: RecordError) -> UserError:
        """Return the error of a damaged record, which names it."""
        return UserError(f"{self.source.name}, {self.name}: {error}")


def open_record_photos(
    path: str, *, split: str, schemas: Collection[Schema], expectation: str, limit: int | None = None
) -> tuple[Schema, Sequence[RecordPhoto]]:
    """Return the schema of the records in a folder, and the photos of a split.

    Args:
      path: the prepared folder.
      split: the split's name, or several as `train+extra`.
      schemas: those that will do.
      expectation: what to give instead of others, in words.
      limit: how many photos at most.

    Raises:
      UserError: there are no such records, or one is damaged.
    """
    info, folder = open_info(path, photos.SCHEMA)
    schema = schema_of(info)
    if schema is None or schema not in schemas:
        what = "photos alone" if schema is photos.SCHEMA else f"records of {schema.name if schema else 'no schema'}"
        raise UserError(f"{folder} holds {what}: give {expectation}")
    source = open_source(path, split, schema)
    found = []
    for index in range(len(source) if limit is None else min(limit, len(source))):
        data = source[index]
        try:
            record = schema.decode(data)
        except RecordError as error:
            raise UserError(f"{source.name}, record {index}: {error}") from error
        found.append(
            RecordPhoto(
                source=source,
                schema=schema,
                index=index,
                image_id=record.image_id,
                name=record.file_name,
                fingerprint=f"{record.image_id} {hashlib.sha256(data).hexdigest()}",
            )
        )
    return schema, found
