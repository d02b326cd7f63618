"""Annotated photos, some of one split at a time: the units of a preparation, and how their records are made.

Annotations are read before units are made, so a unit holds its masks, as run lengths, and the paths of its photos.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int64

from data_pipelines.annotated_photo import AnnotatedPhoto, ObjectMask
from data_pipelines.dataset_kinds import EncodedRecord, count_masks, count_segments
from data_pipelines.lossless import store_photo
from data_pipelines.pairs import Drop, SourceError, Stray
from data_pipelines.segment_maps import segment_record
from data_pipelines.units import Unit
from samjax.core.errors import MachineError
from samjax.core.machine_faults import machine_fault
from samjax.core.text import printable
from samjax.data.classes.class_table import ClassTable
from samjax.data.masks import rle
from samjax.data.photo import PhotoError
from samjax.data.records import masks as records
from samjax.data.records import segments

_MAX_BYTES = 8 * rle.MAX_PIXELS
"""Of a photo's file: four channels of 16 bits at the largest size."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotatedUnit(Unit):
    """Some photos of one split; `path` is the folder of all photos."""

    photos: tuple[AnnotatedPhoto, ...]
    split_name: str
    omissions: Mapping[str, int]
    settings_text: str
    classes: ClassTable | None = None
    """Of every pixel; None makes records of masks without classes."""

    expectation: ClassVar[str] = "an annotated photo"

    @property
    def first(self) -> str:
        """What tells the units of one folder apart."""
        return f"{self.split_name}/{self.photos[0].path}"

    @property
    def settings(self) -> str:
        """What the user chose, in words."""
        return self.settings_text

    @property
    def split(self) -> str:
        """The split that the photos go to."""
        return self.split_name

    @property
    def left_out(self) -> Mapping[str, int]:
        """What of the annotations is in no unit, counted at the first."""
        return self.omissions

    def records(self) -> Iterator[EncodedRecord | Drop | Stray]:
        """Yield what the unit holds; errors are those of `Unit.records`."""
        for photo in self.photos:
            yield self._encode(photo)

    def _encode(self, photo: AnnotatedPhoto) -> EncodedRecord | Drop:
        """An unreadable file costs only its record."""
        where = f"{self.name}: {photo.path}"
        try:
            with open(Path(self.path) / photo.path, "rb") as file:
                content = file.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                return Drop(where=where, kind="too large", detail=f"it has more than {_MAX_BYTES:,} bytes")
            stored = store_photo(content, height=photo.height, width=photo.width, name=where)
        except OSError as error:
            if fault := machine_fault(error):
                raise SourceError(f"cannot be read at {photo.path} ({fault})") from error
            return Drop(where=where, kind="unreadable", detail=f"it cannot be read ({error.strerror or error})")
        except PhotoError as error:
            return Drop(where=where, kind="broken photo", detail=str(error)[:300])
        except MachineError as error:
            raise SourceError(f"cannot be read: {error}") from error
        identity = {
            "image_id": photo.image_id,
            "file_name": printable(photo.path),
            "height": photo.height,
            "width": photo.width,
            "jpeg": stored.content,
        }
        if self.classes is None:
            record = records.Record(**identity, annotations=tuple(_annotation(mask, photo) for mask in photo.masks))
            data, counts = records.encode_record(record), count_masks(record)
        else:
            segmented = segment_record(photo, self.classes, identity)
            data, counts = segments.encode_record(segmented), count_segments(segmented)
        return EncodedRecord(
            where=where,
            image_id=photo.image_id,
            data=data,
            size=len(content),
            counts=counts,
            changes=stored.changes,
        )


def fingerprint_photos(
    folder: Path, photos: tuple[AnnotatedPhoto, ...], left_out: Mapping[str, int]
) -> tuple[str, int]:
    """Return what changes when a photo's file, its size or its masks do, and how many bytes the files have.

    Raises:
      OSError: a file is not there.
    """
    digest, total = hashlib.sha256(repr(sorted(left_out.items())).encode()), 0
    for photo in photos:
        status = os.stat(folder / photo.path)
        total += status.st_size
        said = f"{photo.path}\0{status.st_size}\0{status.st_mtime_ns}\0{photo[1:4]}\0"
        digest.update(os.fsencode(said + " ".join(map(_described, photo.masks)) + "\n"))
    return digest.hexdigest()[:24], total


def _described(mask: ObjectMask) -> str:
    """Return all of a mask that its record depends on, in a word."""
    of_class = "" if mask.category is None else f":{mask.category}:{mask.crowd:d}"
    return f"{mask.id}:{mask.counts}{of_class}"


def _annotation(mask: ObjectMask, photo: AnnotatedPhoto) -> records.Annotation:
    """Return a mask that a person drew: its scores are 1, and any pixel of it stands for the prompt."""
    height, width = photo.height, photo.width
    runs = rle.parse_runs(mask.counts, height=height, width=width)
    top, left, bottom, right = box_of_runs(runs, height=height)
    longest = int(np.argmax(runs[1::2]))
    column, row = divmod(int(runs[: 2 * longest + 1].sum() + runs[2 * longest + 1] // 2), height)
    return records.Annotation(
        id=mask.id,
        counts=mask.counts,
        area=rle.area(runs),
        bbox=(top / height, left / width, bottom / height, right / width),
        crop_box=(0.0, 0.0, 1.0, 1.0),
        point=(column + 0.5, row + 0.5),
        predicted_iou=1.0,
        stability_score=1.0,
    )


def box_of_runs(runs: Int64[np.ndarray, "runs"], *, height: int) -> tuple[int, int, int, int]:
    """Return the first and last row and column of a mask, (top, left, bottom, right), of its run lengths.

    They are inclusive, as SA-1B's boxes are: a mask of one pixel has a box without an area.
    """
    ends, lengths = np.cumsum(runs)[1::2], runs[1::2]
    inside = lengths > 0
    starts, lasts = (ends - lengths)[inside], (ends - 1)[inside]
    left, right = int(starts[0]) // height, int(lasts[-1]) // height
    if (starts // height != lasts // height).any():  # a run that goes on at the top of the next column
        return 0, left, height - 1, right
    return int((starts % height).min()), left, int((lasts % height).max()), right
