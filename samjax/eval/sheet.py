"""Picture sheets: a row an object, a column a round."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw

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


def draw_sheet(rows: Sequence[SheetRow]) -> UInt8[np.ndarray, "h w 3"]:
    """Return photo, truth and predictions side by side, a row an object.

    Truth is green and predictions blue; the truth's outline stays on every prediction. Clicks are green on the
    object and red beside it.
    """
    columns = 2 + max(len(row.predictions) for row in rows)
    sheet = Image.new(
        "RGB", (columns * (CELL + _GAP) + _GAP, len(rows) * (CELL + _CAPTION + _GAP) + _GAP), (255, 255, 255)
    )
    for r, row in enumerate(rows):
        cells = [(row.image, row.name, ""), (overlay(row.image, row.truth, _TRUTH), row.truth_name, "")]
        for mask, clicks, caption, detail in zip(row.predictions, row.clicks, row.captions, row.details, strict=True):
            painted = outline(overlay(row.image, mask, _PREDICTION), row.truth, _TRUTH)
            cells.append((_with_clicks(painted, clicks), caption, detail))
        for c, (picture, caption, detail) in enumerate(cells):
            x, y = _GAP + c * (CELL + _GAP), _GAP + r * (CELL + _CAPTION + _GAP)
            sheet.paste(_fit(picture), (x, y + _CAPTION))
            draw = ImageDraw.Draw(sheet)
            draw.text((x, y), caption, fill=(36, 41, 47), font=text_font(14))
            draw.text((x, y + 16), detail, fill=(101, 109, 118), font=text_font(13))
    return np.asarray(sheet)


def _with_clicks(
    image: UInt8[np.ndarray, "h w 3"], clicks: Sequence[tuple[float, float, bool]]
) -> UInt8[np.ndarray, "h w 3"]:
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for x, y, foreground in clicks:
        draw_point(draw, (x, y), foreground, radius=max(2.0, max(image.shape[:2]) / 45))
    return np.asarray(picture)


def _fit(picture: UInt8[np.ndarray, "h w 3"]) -> Image.Image:
    scale = CELL / max(picture.shape[:2])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
