"""The schemas that records are prepared in: what is counted of a record, and how one is checked whole."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

from etils import epath

from data_pipelines.jpegs import check_jpeg
from samjax.core.errors import UserError
from samjax.core.machine_faults import raise_machine_fault
from samjax.data.masks import rle
from samjax.data.photo import open_photo
from samjax.data.records import masks, photos
from samjax.data.records.schema import RecordError
from samjax.data.stream.sources import open_info

INFO = "dataset_info.json"


class Counts(NamedTuple):
    """What is counted of a record beside its photo, or of many."""

    masks: int = 0
    area: int = 0
    """Of all masks, pixels."""
    without_masks: int = 0
    """Photos that have no mask where others have some."""


_NOTHING = Counts()


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodedRecord:
    """A record as it is written, and what is counted of it."""

    where: str
    """For messages: `sa_000000.tar: sa_12`."""
    image_id: int
    data: bytes
    size: int
    """Bytes that were read for it."""
    counts: Counts = _NOTHING
    empty_masks: int = 0
    """Masks left out: no pixel."""
    changes: tuple[str, ...] = ()
    """Why the photo was encoded again, in words to count; none where its bytes are as they were."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """A schema of records, and the data set that they make."""

    name: str
    """TFDS's name of the data set; its shards begin with it."""
    features: Callable[[], Any]
    """The TFDS FeaturesDict."""
    decode: Callable[[bytes], Any]
    """A record's bytes to a `Record`; raises RecordError."""
    counts: Callable[[Any], Counts]
    check: Callable[[Any], None]
    """Decodes all of a `Record`; raises RecordError, RleError or PhotoError."""
    renumber: Callable[[bytes, int], bytes] | None = None
    """Gives a record another image id, where preparing makes the ids. None: ids are the source's, and of two records
    with one id the second is dropped."""
    module: str
    description: str
    homepage: str = ""


def count_masks(record: masks.Record) -> Counts:
    """Return what is counted of a record with masks."""
    area = sum(annotation.area for annotation in record.annotations)
    return Counts(masks=len(record.annotations), area=area, without_masks=int(not record.annotations))


def _check_photo(record: masks.Record | photos.Record) -> None:
    size = {"height": record.height, "width": record.width}
    check_jpeg(record.jpeg, **size)
    open_photo(record.jpeg, **size).close()


def _check_masks(record: masks.Record) -> None:
    _check_photo(record)
    for index, annotation in enumerate(record.annotations):
        covered = int(rle.decode(annotation.counts, height=record.height, width=record.width).sum())
        if covered != annotation.area:
            raise RecordError(f"annotation {index}: area is {annotation.area} but the mask covers {covered}")


def _no_masks(record: photos.Record) -> Counts:
    return _NOTHING


def _renumber_photo(data: bytes, image_id: int) -> bytes:
    return photos.encode_record(dataclasses.replace(photos.decode_record(data), image_id=image_id))


MASKS = Schema(
    name="sa1b",
    features=masks.features,
    decode=masks.decode_record,
    counts=count_masks,
    check=_check_masks,
    module="data_pipelines.sa1b",
    description="Photos and masks in the layout of the SA-1B release.",
    homepage="https://ai.meta.com/datasets/segment-anything-downloads",
)
PHOTOS = Schema(
    name="photos",
    features=photos.features,
    decode=photos.decode_record,
    counts=_no_masks,
    check=_check_photo,
    renumber=_renumber_photo,
    module="data_pipelines.photos",
    description="Photos alone.",
)


def holds_photos_alone(path: str) -> bool:
    """Return whether `path` is a folder of records of photos alone."""
    folder = epath.Path(path).expanduser()
    return bool(path) and (folder / INFO).exists() and _is_of_photos(folder)


def open_dataset(path: str) -> tuple[Any, epath.Path, Schema]:
    """Return what a prepared folder says of itself, a TFDS DatasetInfo, its path, and the schema of its records.

    Raises:
      UserError: no such folder, a schema that is none of these, another file format.
    """
    import tensorflow_datasets as tfds

    if not holds_photos_alone(path):
        return *open_info(path), MASKS
    folder = epath.Path(path).expanduser()
    info = tfds.builder_from_directory(folder).info
    if info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise UserError(f"{folder} holds {info.file_format} files, not array_record: prepare it again")
    return info, folder, PHOTOS


def _is_of_photos(folder: epath.Path) -> bool:
    import tensorflow_datasets as tfds

    try:
        features = tfds.builder_from_directory(folder).info.features
    except Exception as error:  # `open_info` says what is wrong
        raise_machine_fault(error, what=f"{folder} cannot be read")
        return False
    return features is not None and features.get_serialized_info() == photos.features().get_serialized_info()
