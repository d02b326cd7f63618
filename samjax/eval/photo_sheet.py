"""Sheets of photos whose objects were found worst, and of those in the middle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from pycocotools import mask as coco

from samjax.core.files import write_png
from samjax.data.annotations.dataset import Photo
from samjax.data.masks import rle
from samjax.eval.sheet import Cell, draw_cells, shortened, worst_and_median
from samjax.predict.draw_masks import draw_masks

_SIDE = 320
_LETTERS = 40


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What was found of one object: the mask that overlaps it most, if any, as run lengths; None if there is none."""

    iou: float
    found: str | None


@dataclass(frozen=True, kw_only=True)
class PhotoCase:
    """A photo's objects and what was found of each."""

    photo: Photo
    objects: Sequence[str]
    """Run lengths of the objects, some at least."""
    found: Mapping[str, Sequence[Overlap]]
    """By what found them, for each object; photos are ranked by the last."""

    def mean(self, by: str) -> float:
        """Return the mean IoU of what was found."""
        return float(np.mean([one.iou for one in self.found[by]]))


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    segmentation: dict[str, Any]
    area: float


def write_sheets(folder: Path, cases: Sequence[PhotoCase]) -> None:
    """Write `worst.png`, the photos with the least mean IoU, and `median.png`, those in the middle of all.

    An object and what was found of it have one colour.
    """
    ranked = sorted(cases, key=lambda case: (case.mean(list(case.found)[-1]), case.photo.id))
    for name, those in worst_and_median(ranked)._asdict().items():
        if those:
            write_png(folder / f"{name}.png", draw_cells([_cells(case) for case in those], side=_SIDE))


def _cells(case: PhotoCase) -> list[Cell]:
    image = case.photo.read()
    cells = [
        Cell(picture=image, caption=shortened(case.photo.name, _LETTERS)),
        Cell(picture=_draw(image, case.objects, case.objects), caption=f"{len(case.objects)} objects"),
    ]
    for by, overlaps in case.found.items():
        painted = _draw(image, [one.found for one in overlaps], case.objects)
        cells.append(Cell(picture=painted, caption=by, detail=f"mean IoU {case.mean(by):.2f}"))
    return cells


def _draw(
    image: UInt8[np.ndarray, "h w 3"], masks: Sequence[str | None], objects: Sequence[str]
) -> UInt8[np.ndarray, "drawn_h drawn_w 3"]:
    """Return the photo with a mask of each object, drawn in the place and so in the colour of the object itself."""
    size = list(image.shape[:2])
    nothing = rle.encode(np.zeros(image.shape[:2], bool))["counts"]
    drawn = [
        _Drawn(
            segmentation={"size": size, "counts": nothing if mask is None else mask},
            area=float(coco.area({"size": size, "counts": one})),  # type: ignore[arg-type]
        )
        for mask, one in zip(masks, objects, strict=True)
    ]
    return draw_masks(image, drawn)
