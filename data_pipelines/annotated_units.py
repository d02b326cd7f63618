"""The units of annotated photos, and how their records are made.

Annotations are read before units are made, so a unit holds its masks, as run lengths, and the paths of its photos.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Int64

from data_pipelines.annotated_photo import AnnotatedPhoto, ObjectMask
from data_pipelines.dataset_kinds import count_masks, count_segments
from data_pipelines.folder_units import FolderUnit, RecordPart
from data_pipelines.segment_maps import segment_record
from samjax.data.classes.class_table import ClassTable
from samjax.data.masks import rle
from samjax.data.records import masks as records
from samjax.data.records import segments


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnnotatedUnit(FolderUnit):
    """Some `AnnotatedPhoto` of one split."""

    classes: ClassTable | None = None
    """Of every pixel; None makes records of masks without classes."""

    def encode(self, photo: AnnotatedPhoto, identity: dict[str, Any], *, where: str) -> RecordPart:
        """Return the record of a photo."""
        del where
        if self.classes is None:
            record = records.Record(**identity, annotations=tuple(_annotation(mask, photo) for mask in photo.masks))
            return RecordPart(records.encode_record(record), count_masks(record))
        segmented = segment_record(photo, self.classes, identity)
        return RecordPart(segments.encode_record(segmented), count_segments(segmented))


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
