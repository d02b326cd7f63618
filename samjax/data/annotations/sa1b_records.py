"""Masks as SA-1B has them, in records made by `samjax data prepare`."""

from dataclasses import replace

from samjax.core.errors import UserError
from samjax.data.annotations.dataset import Dataset, Instance, Photo, ReadPhoto
from samjax.data.annotations.problems import Problems
from samjax.data.annotations.progress import Progress, no_progress
from samjax.data.masks import rle
from samjax.data.photo import Orientation, read_photo
from samjax.data.records.masks import Record, RecordError, decode_record
from samjax.data.stream.sources import RecordSource, open_info, open_source


def read_sa1b(
    path: str,
    *,
    name: str,
    split: str | None = None,
    allow_missing: bool = False,
    allow_unannotated: bool = False,
    progress: Progress = no_progress,
) -> Dataset:
    """Read the records of `split` in a prepared folder; without `split`, of the only one there is.

    Masks keep their ids if no two in the data set share one, else they are numbered from 1.

    Raises:
      UserError: no such folder or split, or several and none is chosen; or, all of it in one message and unless
        `allow_missing`, records that are damaged, photos whose id is given twice, masks that are none; unless
        `allow_unannotated`, photos without masks.
    """
    source = open_source(path, split or _only_split(path))
    problems = Problems(path)
    photos: dict[int, Photo] = {}
    first: dict[int, int] = {}
    with progress("records", total=len(source)) as watch:
        for index in range(len(source)):
            watch(1)
            try:
                record = decode_record(source[index])
            except RecordError as error:
                problems.add("records that cannot be read", f"record {index}: {error}")
                continue
            instances = _instances(record, problems)
            if (other := first.setdefault(record.image_id, index)) != index:
                which = f"{record.image_id} of records {other} and {index}, {record.file_name}"
                problems.add("photos whose id is given twice", which)
            elif not instances:
                problems.add_without_annotations("photos without masks", record.file_name)
            else:
                photos[record.image_id] = Photo(
                    id=record.image_id,
                    name=record.file_name,
                    path=record.file_name,
                    height=record.height,
                    width=record.width,
                    instances=instances,
                    read=_reader(source, index, record),
                )
    ordered = _with_unique_ids([photos[number] for number in sorted(photos)])
    left_out = problems.settle(allow_missing=allow_missing, allow_unannotated=allow_unannotated)
    return Dataset(name=name, photos=ordered, categories={1: "object"}, left_out=left_out)


def _only_split(path: str) -> str:
    info, folder = open_info(path)
    splits = list(info.splits)
    if len(splits) != 1:
        raise UserError(f"{folder} has the splits {', '.join(splits) or 'none'}: give one of them with --split")
    return splits[0]


def _instances(record: Record, problems: Problems) -> tuple[Instance, ...]:
    size = {"height": record.height, "width": record.width}
    instances = []
    for annotation in record.annotations:
        try:
            rle.parse_runs(annotation.counts, **size)
        except rle.RleError as error:
            problems.add("masks that cannot be used", f"{record.file_name}, annotation {annotation.id}: {error}")
        else:
            segmentation = {"size": [record.height, record.width], "counts": annotation.counts}
            instances.append(Instance(id=annotation.id, segmentation=segmentation))
    return tuple(instances)


def _reader(source: RecordSource, index: int, record: Record) -> ReadPhoto:
    where, height, width = f"{record.file_name} in {source.name}", record.height, record.width
    return lambda: read_photo(
        decode_record(source[index]).jpeg, name=where, orientation=Orientation.STORED, size=(height, width)
    )


def _with_unique_ids(photos: list[Photo]) -> list[Photo]:
    given = [instance.id for photo in photos for instance in photo.instances]
    if len(set(given)) == len(given):
        return photos
    numbers = iter(range(1, len(given) + 1))
    return [
        replace(photo, instances=tuple(replace(instance, id=next(numbers)) for instance in photo.instances))
        for photo in photos
    ]
