"""Encodes and decodes records of photos whose every pixel has a segment: for semantic and panoptic segmentation.

A record has the photo, a map of segment ids as a PNG of 8 or 16 bits, 0 where a pixel is of none, and a table that says
of each segment its class, whether that can be counted (a thing), and whether it is a crowd. What the classes are is in
the folder's `classes.json`, a `samjax.data.classes.class_table`.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Int16, Int32

from samjax.data.records import photos
from samjax.data.records.png_map import check_map, decode_map
from samjax.data.records.schema import (
    RecordError,
    Schema,
    encode_example,
    image_features,
    not_of_schema,
    photo_fields,
    skip_photo_decoding,
)

VOID = 0
"""The segment id of pixels that are of none."""
UNLABELLED = -1
"""Their class."""
MOST_SEGMENTS = 2**16 - 1
_NAME = "the map of segments"
CLASSES = "classes.json"
"""The file in a prepared folder that says what the classes are."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Segment:
    """All pixels of one id."""

    id: int
    category: int
    """The number of its class, from 0."""
    thing: bool = False
    crowd: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(photos.Record):
    """One photo, still encoded, and its segments."""

    png: bytes
    """The map of segment ids, as large as the photo, still encoded."""
    segments: tuple[Segment, ...]

    def ids(self) -> Int32[np.ndarray, "h w"]:
        """Return the segment id of each pixel.

        Raises:
          RecordError: the map is damaged, of another size than the photo, or has an id that the table has not.
        """
        ids = decode_map(self.png, name=_NAME)
        check_map(ids, (self.height, self.width), name=_NAME)
        ids = ids.astype(np.int32)
        if unknown := set(np.unique(ids).tolist()) - {VOID, *(one.id for one in self.segments)}:
            raise RecordError(f"{_NAME} has the id {min(unknown)}, which the table has not")
        return ids

    def classes(self) -> Int16[np.ndarray, "h w"]:
        """Return the class of each pixel, `UNLABELLED` where it has none.

        Raises:
          RecordError: as `ids`.
        """
        ids = self.ids()
        table = np.full(int(ids.max()) + 1, UNLABELLED, np.int16)
        for one in self.segments:
            if one.id < len(table):
                table[one.id] = one.category
        return table[ids]


@functools.cache
def features() -> Any:
    """Return the schema, a TFDS FeaturesDict."""
    import tensorflow_datasets as tfds  # where a record is read or written: processes that do neither go without

    segment = tfds.features.FeaturesDict({"id": np.uint64, "category": np.uint64, "thing": np.bool_, "crowd": np.bool_})
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.FeaturesDict(image_features()),
            "segment_ids": tfds.features.Image(shape=(None, None, 1), dtype=np.uint16, encoding_format="png"),
            "segments": tfds.features.Sequence(segment),
        }
    )


def encode_record(record: Record) -> bytes:
    """Return `record` as the bytes of one ArrayRecord record, the same in every process."""
    example = {
        **photos.to_example(record),
        "segment_ids": record.png,
        "segments": [dataclasses.asdict(one) for one in record.segments],
    }
    return encode_example(features(), example)


def decode_record(data: bytes) -> Record:
    """Return the record in `data`, the bytes of one ArrayRecord record; its map is not decoded yet.

    Raises:
      RecordError: not a record of this schema, or one that contradicts itself.
    """
    try:
        import tensorflow_datasets as tfds

        decoders = {**skip_photo_decoding(), "segment_ids": tfds.decode.SkipDecoding()}
        return _from_example(features().deserialize_example_np(data, decoders=decoders))
    except RecordError:
        raise
    except Exception as error:
        raise not_of_schema(error, name="segments") from error


def _from_example(example: Any) -> Record:
    columns = example["segments"]
    rows = zip(columns["id"], columns["category"], columns["thing"], columns["crowd"], strict=True)
    segments = tuple(
        Segment(id=int(identifier), category=int(category), thing=bool(thing), crowd=bool(crowd))
        for identifier, category, thing, crowd in rows
    )
    ids = [one.id for one in segments]
    if len(set(ids)) < len(ids) or not all(VOID < one <= MOST_SEGMENTS for one in ids):
        raise RecordError(f"its segments have the ids {ids[:10]}; they must differ, from 1 to {MOST_SEGMENTS:,}")
    if any(one.category > np.iinfo(np.int16).max for one in segments):
        raise RecordError("a segment's class has more than 15 bits")
    return Record(**photo_fields(example["image"]), png=bytes(example["segment_ids"]), segments=segments)


SCHEMA = Schema(name="segments", features=features, decode=decode_record, parts=(photos.SCHEMA,))
