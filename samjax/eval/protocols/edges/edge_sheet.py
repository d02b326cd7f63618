"""Picture sheets of edges: a row a photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image, ImageDraw

from samjax.eval.protocols.edges.edge_scores import Best
from samjax.eval.protocols.edges.levels import level_of
from samjax.predict.overlay import text_font

_CELL = 400
"""Longest side of a photo in the sheet, in pixels."""
_GAP, _CAPTION = 8, 40
_INK, _FAINT = (36, 41, 47), (101, 109, 118)


@dataclass(frozen=True, kw_only=True)
class EdgeRow:
    """One photo, what its annotators drew and what was detected."""

    photo: UInt8[np.ndarray, "h w 3"]
    boundaries: Float32[np.ndarray, "h w"]
    """The share of annotators that saw a boundary."""
    edges: UInt8[np.ndarray, "h w"]
    name: str
    best: Best
    """Of this photo alone."""


def draw_edge_sheet(rows: Sequence[EdgeRow]) -> UInt8[np.ndarray, "sheet_h sheet_w 3"]:
    """Return photo, ground truth, all edges and those at the photo's best threshold side by side, dark on white."""
    captions = ("ground truth, darker where more agree", "detected", "at its best threshold")
    width = _GAP + 4 * (_CELL + _GAP)
    heights = [_fit(row.photo).height for row in rows]
    sheet = Image.new("RGB", (width, _GAP + sum(height + _CAPTION + _GAP for height in heights)), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    top = _GAP
    for row, height in zip(rows, heights, strict=True):
        strong = row.edges >= level_of(row.best.threshold)
        drawn = (255 * (1 - row.boundaries), 255 - row.edges, 255 * ~strong)
        pictures = [row.photo, *(np.repeat(one.astype(np.uint8)[..., None], 3, axis=-1) for one in drawn)]
        detail = f"F {row.best.f:.3f}, precision {row.best.precision:.2f}, recall {row.best.recall:.2f}"
        details = ("", "", "", f"{detail}, from {row.best.threshold:.2f}")
        for place, (picture, caption, detail) in enumerate(zip(pictures, (row.name, *captions), details, strict=True)):
            left = _GAP + place * (_CELL + _GAP)
            draw.text((left, top), caption, fill=_INK, font=text_font(15))
            draw.text((left, top + 19), detail, fill=_FAINT, font=text_font(13))
            sheet.paste(_fit(picture), (left, top + _CAPTION))
        top += height + _CAPTION + _GAP
    return np.asarray(sheet)


def _fit(picture: UInt8[np.ndarray, "h w 3"]) -> Image.Image:
    scale = _CELL / max(picture.shape[:2])
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return Image.fromarray(picture).resize(
        (width, height), Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    )
