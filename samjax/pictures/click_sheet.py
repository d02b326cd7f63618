"""Picture sheets of clicks: one row per object, one column per round."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from samjax.pictures.canvas import Cell, Grid
from samjax.pictures.colours import PREDICTION, TRUTH
from samjax.pictures.overlay import draw_point, outline, overlay, point_colour

CELL = 208
"""Longest side of a photo in the sheet, in pixels."""


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """One object: its photo, its true mask, and the predictions after each number of clicks, all at one size."""

    image: UInt8[np.ndarray, "h w 3"]
    truth: Bool[np.ndarray, "h w"]
    predictions: Sequence[Bool[np.ndarray, "h w"]]
    clicks: Sequence[Sequence[tuple[float, float, bool]]]
    """(x, y, foreground) of the clicks given so far, for each prediction."""
    captions: Sequence[str]
    details: Sequence[str]
    name: str = "photo"
    truth_name: str = "ground truth"


def draw_sheet(rows: Sequence[SheetRow]) -> UInt8[np.ndarray, "h w 3"]:
    """Return photo, truth and predictions side by side, one row per object.

    Truth is green and predictions blue; the truth's outline stays on every prediction. Clicks are green on the
    object and red beside it.
    """
    return Grid(rows=[_cells(row) for row in rows], side=CELL, square=True).draw()


def _cells(row: SheetRow) -> list[Cell]:
    cells = [
        Cell(picture=row.image, caption=row.name),
        Cell(picture=overlay(row.image, row.truth, TRUTH), caption=row.truth_name),
    ]
    for mask, clicks, caption, detail in zip(row.predictions, row.clicks, row.captions, row.details, strict=True):
        painted = outline(overlay(row.image, mask, PREDICTION), row.truth, TRUTH)
        cells.append(Cell(picture=_with_clicks(painted, clicks), caption=caption, detail=detail))
    return cells


def _with_clicks(
    image: UInt8[np.ndarray, "h w 3"], clicks: Sequence[tuple[float, float, bool]]
) -> UInt8[np.ndarray, "h w 3"]:
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for x, y, foreground in clicks:
        draw_point(draw, (x, y), point_colour(foreground), radius=max(2.0, max(image.shape[:2]) / 45))
    return np.asarray(picture)
