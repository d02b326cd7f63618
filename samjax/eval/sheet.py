"""Picture sheets: a row an object, a column a round."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

from samjax.core.text import printable
from samjax.predict.overlay import draw_point, outline, overlay, text_font

CELL = 208
"""Longest side of a photo in the sheet, in pixels."""

_GAP, _CAPTION = 6, 34
_TRUTH, _PREDICTION = (46, 160, 67), (31, 111, 235)


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


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A picture with up to two lines above it."""

    picture: UInt8[np.ndarray, "_ _ 3"]
    caption: str
    detail: str = ""


class Cases(NamedTuple):
    """What sheets of an evaluation show; each field names its picture."""

    worst: Sequence[Any]
    median: Sequence[Any]


def worst_and_median(ranked: Sequence[Any], *, count: int = 4) -> Cases:
    """Return the first `count` of things ranked from the worst, and as many in the middle that are none of these."""
    middle = max(count, min(len(ranked) // 2 - count // 2, len(ranked) - count))
    return Cases(worst=ranked[:count], median=ranked[middle : middle + count])


def shortened(name: str, letters: int) -> str:
    """Return the end of a name that is too long to stand over a picture."""
    name = printable(name)
    return name if len(name) <= letters else f"...{name[3 - letters :]}"


def draw_sheet(rows: Sequence[SheetRow]) -> UInt8[np.ndarray, "h w 3"]:
    """Return photo, truth and predictions side by side, a row an object.

    Truth is green and predictions blue; the truth's outline stays on every prediction. Clicks are green on the
    object and red beside it.
    """
    cells = []
    for row in rows:
        of_row = [
            Cell(picture=row.image, caption=row.name),
            Cell(picture=overlay(row.image, row.truth, _TRUTH), caption=row.truth_name),
        ]
        for mask, clicks, caption, detail in zip(row.predictions, row.clicks, row.captions, row.details, strict=True):
            painted = outline(overlay(row.image, mask, _PREDICTION), row.truth, _TRUTH)
            of_row.append(Cell(picture=_with_clicks(painted, clicks), caption=caption, detail=detail))
        cells.append(of_row)
    return draw_cells(cells)


def draw_cells(rows: Sequence[Sequence[Cell]], *, side: int = CELL) -> UInt8[np.ndarray, "h w 3"]:
    """Return the cells in rows and columns, the longer side of each picture `side` pixels."""
    columns = max(map(len, rows))
    size = (columns * (side + _GAP) + _GAP, len(rows) * (side + _CAPTION + _GAP) + _GAP)
    sheet = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            x, y = _GAP + c * (side + _GAP), _GAP + r * (side + _CAPTION + _GAP)
            sheet.paste(_fit(cell.picture, side), (x, y + _CAPTION))
            draw.text((x, y), cell.caption, fill=(36, 41, 47), font=text_font(14))
            draw.text((x, y + 16), cell.detail, fill=(101, 109, 118), font=text_font(13))
    return np.asarray(sheet)


def _with_clicks(
    image: UInt8[np.ndarray, "h w 3"], clicks: Sequence[tuple[float, float, bool]]
) -> UInt8[np.ndarray, "h w 3"]:
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for x, y, foreground in clicks:
        draw_point(draw, (x, y), foreground, radius=max(2.0, max(image.shape[:2]) / 45))
    return np.asarray(picture)


def _fit(picture: UInt8[np.ndarray, "h w 3"], side: int) -> Image.Image:
    scale = side / max(picture.shape[:2])
    height, width = (max(1, round(length * scale)) for length in picture.shape[:2])
    return Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
