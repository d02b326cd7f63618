"""Picture sheets of edges, one row per photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from samjax.pictures.canvas import Cell, Grid

_CELL = 400
"""Longest side of a photo in the sheet, in pixels."""


@dataclass(frozen=True, kw_only=True)
class EdgeRow:
    """One photo, what its annotators drew and what was detected."""

    photo: UInt8[np.ndarray, "h w 3"]
    boundaries: Float32[np.ndarray, "h w"]
    """The share of annotators that saw a boundary."""
    edges: UInt8[np.ndarray, "h w"]
    strong: Bool[np.ndarray, "h w"]
    """The edges at the photo's best threshold."""
    name: str
    detail: str
    """How well the strong edges agree."""


def draw_edge_sheet(rows: Sequence[EdgeRow]) -> UInt8[np.ndarray, "sheet_h sheet_w 3"]:
    """Return photo, ground truth, all edges and those at the photo's best threshold side by side, dark on white."""
    return Grid(
        rows=[
            [
                Cell(picture=row.photo, caption=row.name),
                Cell(
                    picture=(255 * (1 - row.boundaries)).astype(np.uint8),
                    caption="ground truth, darker where more agree",
                ),
                Cell(picture=255 - row.edges, caption="detected"),
                Cell(picture=(255 * ~row.strong).astype(np.uint8), caption="at its best threshold", detail=row.detail),
            ]
            for row in rows
        ],
        side=_CELL,
    ).draw()
