"""The schema of photos without masks: the photo part of TFDS's `segment_anything`.

Its only part is `image`, entry by entry that of `samjax.data.records.masks`. So `decode_record` also takes the photo
out of a record with masks: the annotations are never decoded, which would take seventy times as long for 100 masks.
"""

import dataclasses
import functools
from typing import Any

from samjax.data.records.schema import (
    RecordError,
    Schema,
    encode_example,
    image_features,
    not_of_schema,
    photo_fields,
    skip_photo_decoding,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """One photo, still encoded."""

    image_id: int
    file_name: str
    height: int
    width: int
    jpeg: bytes
    """The photo's file: a JPEG, or a PNG of 8-bit grey or RGB where its pixels must not change."""


@functools.cache
def features() -> Any:
    """Return the schema, a TFDS FeaturesDict."""
    import tensorflow_datasets as tfds

    return tfds.features.FeaturesDict({"image": tfds.features.FeaturesDict(image_features())})


def to_example(record: Record) -> dict[str, Any]:
    """Return `record` as the nested dict that `features()` encodes."""
    return {
        "image": {
            "content": record.jpeg,
            "file_name": record.file_name,
            "height": record.height,
            "image_id": record.image_id,
            "width": record.width,
        }
    }


def encode_record(record: Record) -> bytes:
    """Return `record` as the bytes of one ArrayRecord record, the same in every process."""
    return encode_example(features(), to_example(record))


def decode_record(data: bytes) -> Record:
    """Return the photo in `data`, the bytes of one ArrayRecord record of this schema or of one with masks.

    Raises:
      RecordError: it holds no photo of this schema, or one that contradicts itself.
    """
    try:
        return Record(**photo_fields(features().deserialize_example_np(data, decoders=skip_photo_decoding())["image"]))
    except RecordError:
        raise
    except Exception as error:
        raise not_of_schema(error, name="photos") from error


SCHEMA = Schema(name="photos", features=features, decode=decode_record)
