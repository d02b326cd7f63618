"""Chooses the cases of an evaluation to draw: the worst and the median ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from samjax.core.files import write_png
from samjax.data.annotations.dataset import Photo
from samjax.pictures.photo_sheet import FoundMasks, PhotoRow, draw_photo_sheet


class Cases(NamedTuple):
    """What sheets of an evaluation show; each field names its picture."""

    worst: Sequence[Any]
    median: Sequence[Any]


def worst_and_median(ranked: Sequence[Any], *, count: int = 4) -> Cases:
    """Return the first `count` of items ranked from the worst, and as many from the middle, without overlap."""
    middle = max(count, min(len(ranked) // 2 - count // 2, len(ranked) - count))
    return Cases(worst=ranked[:count], median=ranked[middle : middle + count])


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """The prediction for one object: the mask that overlaps it most, as run lengths; None if there is none."""

    iou: float
    mask: str | None


@dataclass(frozen=True, kw_only=True)
class PhotoCase:
    """A photo's objects and the prediction for each."""

    photo: Photo
    objects: Sequence[str]
    """Run lengths of the objects, at least one."""
    overlaps: Mapping[str, Sequence[Overlap]]
    """By method, for each object; photos are ranked by the last method."""

    def mean(self, by: str) -> float:
        """Return the mean IoU of the method `by`."""
        return float(np.mean([one.iou for one in self.overlaps[by]]))


def write_sheets(folder: Path, cases: Sequence[PhotoCase]) -> None:
    """Write `worst.png`, the photos with the least mean IoU, and `median.png`, those in the middle of all.

    An object and its prediction share a colour.
    """
    ranked = sorted(cases, key=lambda case: (case.mean(list(case.overlaps)[-1]), case.photo.id))
    for name, those in worst_and_median(ranked)._asdict().items():
        if those:
            write_png(folder / f"{name}.png", draw_photo_sheet([_row(case) for case in those]))


def _row(case: PhotoCase) -> PhotoRow:
    found = [
        FoundMasks(masks=[one.mask for one in overlaps], caption=by, detail=f"mean IoU {case.mean(by):.2f}")
        for by, overlaps in case.overlaps.items()
    ]
    return PhotoRow(photo=case.photo.read(), name=case.photo.name, objects=case.objects, predictions=found)
