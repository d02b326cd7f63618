"""The kinds of data sets that can be prepared: what is counted per record, and how to check a record completely."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from etils import epath

from data_pipelines.jpegs import check_jpeg
from samjax.data.masks import rle
from samjax.data.photo import open_photo
from samjax.data.png_header import SIGNATURE as PNG_SIGNATURE
from samjax.data.records import depths, masks, photos, segments
from samjax.data.records.schema import RecordError, Schema
from samjax.data.stream.sources import holds_records, open_info, schema_of

INFO = "dataset_info.json"


class Counts(NamedTuple):
    """Counts of one record, excluding its photo, or summed over many."""

    masks: int = 0
    area: int = 0
    """Of all masks, pixels."""
    without_masks: int = 0
    """Photos that have no mask where others have some."""


_NOTHING = Counts()


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedRecord:
    """An encoded record, and its counts."""

    where: str
    """For messages: `sa_000000.tar: sa_12`."""
    image_id: int
    data: bytes
    size: int
    """Bytes read for it."""
    counts: Counts = _NOTHING
    empty_masks: int = 0
    """Masks excluded because they have no pixel."""
    changes: tuple[str, ...] = ()
    """Why the photo was re-encoded, as phrases to count; empty if its bytes are unchanged."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetKind:
    """The data set that records of a schema make."""

    name: str
    """TFDS's name of the data set; its shards begin with it."""
    schema: Schema
    """Of its records."""
    counts: Callable[[Any], Counts]
    has_masks: bool = True
    """Whether a record has masks or segments, which are counted."""
    photos_as: str = "PNG"
    """What a photo is encoded as where its bytes cannot be kept."""
    check: Callable[[Any], None]
    """Decodes all of a `Record`; raises RecordError, RleError or PhotoError."""
    renumber: Callable[[bytes, int], bytes] | None = None
    """Gives a record another image id, where preparing makes the ids. None: ids are the source's, and of two records
    with one id the second is dropped."""
    module: str
    description: str
    homepage: str = ""


def count_masks(record: masks.Record) -> Counts:
    """Return the counts of a record with masks."""
    area = sum(annotation.area for annotation in record.annotations)
    return Counts(masks=len(record.annotations), area=area, without_masks=int(not record.annotations))


def _check_photo(record: photos.Record) -> None:
    size = {"height": record.height, "width": record.width}
    if not record.jpeg.startswith(PNG_SIGNATURE):
        check_jpeg(record.jpeg, **size)  # PIL decodes some JPEGs that are cut short
    open_photo(record.jpeg, **size).close()


def _check_masks(record: masks.Record) -> None:
    _check_photo(record)
    for index, annotation in enumerate(record.annotations):
        covered = int(rle.decode(annotation.counts, height=record.height, width=record.width).sum())
        if covered != annotation.area:
            raise RecordError(f"annotation {index}: area is {annotation.area} but the mask covers {covered}")


def count_segments(record: segments.Record) -> Counts:
    """Return the counts of a record with segments; their area is not counted."""
    return Counts(masks=len(record.segments), without_masks=int(not record.segments))


def _check_segments(record: segments.Record) -> None:
    _check_photo(record)
    record.ids()


def _check_depths(record: depths.Record) -> None:
    _check_photo(record)
    if not record.values().any():
        raise RecordError("no pixel of it has a known depth")


def _no_masks(record: photos.Record) -> Counts:
    return _NOTHING


def _renumber_photo(data: bytes, image_id: int) -> bytes:
    return photos.encode_record(dataclasses.replace(photos.decode_record(data), image_id=image_id))


MASKS = DatasetKind(
    name="sa1b",
    schema=masks.SCHEMA,
    counts=count_masks,
    check=_check_masks,
    module="data_pipelines.sa1b",
    description="Photos and masks in the layout of the SA-1B release.",
    homepage="https://ai.meta.com/datasets/segment-anything-downloads",
)
ANNOTATED = DatasetKind(
    name="annotated",
    schema=masks.SCHEMA,
    counts=count_masks,
    check=_check_masks,
    module="data_pipelines.annotated_photos",
    description="Annotated photos and their masks.",
)
SEGMENTED = DatasetKind(
    name="segmented",
    schema=segments.SCHEMA,
    counts=count_segments,
    check=_check_segments,
    module="data_pipelines.annotated_photos",
    description="Photos, and of every pixel its segment and class.",
)
DEPTHS = DatasetKind(
    name="depths",
    schema=depths.SCHEMA,
    counts=_no_masks,
    has_masks=False,
    check=_check_depths,
    module="data_pipelines.depth_photos",
    description="Photos, and the depth of their pixels where it is known.",
)
PHOTOS = DatasetKind(
    name="photos",
    schema=photos.SCHEMA,
    counts=_no_masks,
    has_masks=False,
    photos_as="JPEG",
    check=_check_photo,
    renumber=_renumber_photo,
    module="data_pipelines.photos",
    description="Photos alone.",
)

KINDS = (MASKS, ANNOTATED, SEGMENTED, DEPTHS, PHOTOS)


def kind_by_name(name: str) -> DatasetKind:
    """Return the kind of that name, as reports give it; of one that another version wrote, masks."""
    return next((kind for kind in KINDS if kind.name == name), MASKS)


def open_dataset(path: str) -> tuple[Any, epath.Path, DatasetKind]:
    """Return what a prepared folder says of itself, a TFDS DatasetInfo, its path, and the kind of data set it is.

    Raises:
      UserError: no such folder, a schema that is none of these, another file format.
    """
    info, folder = open_info(path, photos.SCHEMA)
    kinds = [kind for kind in KINDS if kind.schema is schema_of(info)]
    return info, folder, next((kind for kind in kinds if kind.name == info.name), kinds[0])


def holds_masks(path: str) -> bool:
    """Return whether the records in a folder, if it holds any, are of photos with masks."""
    return not holds_records(path) or open_dataset(path)[2].schema is masks.SCHEMA
