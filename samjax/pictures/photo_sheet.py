"""Picture sheets of photos with all their objects, one row per photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from pycocotools import mask as coco

from samjax.data.masks import rle
from samjax.pictures.all_masks import draw_all_masks
from samjax.pictures.canvas import Cell, Grid

_CELL = 320
"""Longest side of a photo in the sheet, in pixels."""


@dataclass(frozen=True, kw_only=True)
class FoundMasks:
    """One method's predictions for the objects of a photo."""

    masks: Sequence[str | None]
    """Run lengths for each object; None where there is no prediction."""
    caption: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class PhotoRow:
    """A photo, its objects and the predictions for them, all at one size."""

    photo: UInt8[np.ndarray, "h w 3"]
    name: str
    objects: Sequence[str]
    """Compressed COCO run lengths."""
    predictions: Sequence[FoundMasks]


def draw_photo_sheet(rows: Sequence[PhotoRow]) -> UInt8[np.ndarray, "sheet_h sheet_w 3"]:
    """Return photo, objects and each method's predictions side by side.

    An object and its predictions share a colour.
    """
    return Grid(rows=[_cells(row) for row in rows], side=_CELL).draw()


def _cells(row: PhotoRow) -> list[Cell]:
    height, width = row.photo.shape[:2]
    nothing = rle.encode(np.zeros((height, width), bool))["counts"]
    areas = [float(coco.area({"size": [height, width], "counts": one})) for one in row.objects]  # type: ignore[arg-type]
    cells = [
        Cell(picture=row.photo, caption=row.name),
        Cell(picture=draw_all_masks(row.photo, row.objects, areas=areas), caption=f"{len(row.objects)} objects"),
    ]
    for found in row.predictions:
        masks = [nothing if mask is None else mask for mask in found.masks]
        painted = draw_all_masks(row.photo, masks, areas=areas)
        cells.append(Cell(picture=painted, caption=found.caption, detail=found.detail))
    return cells
