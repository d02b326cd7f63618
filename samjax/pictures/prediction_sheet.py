"""The masks of one object side by side, over their photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from samjax.pictures.canvas import Cell, Grid
from samjax.pictures.colours import BOX, PAPER, PREDICTION
from samjax.pictures.overlay import draw_box, draw_point, outline, overlay, point_colour

PANEL = 960
"""Longest side of a photo in a picture of predictions, in pixels."""

_FINE = 2


@dataclass(frozen=True, kw_only=True)
class DrawnPrompt:
    """What was prompted, in pixels of the photo."""

    points: Sequence[tuple[float, float, bool]] = ()
    """(x, y, on the object)."""
    box: tuple[float, float, float, float] | None = None


def draw_prediction(
    photo: UInt8[np.ndarray, "h w 3"],
    masks: Bool[np.ndarray, "k h w"],
    iou: Float[np.ndarray, "k"],
    prompt: DrawnPrompt,
) -> UInt8[np.ndarray, "out_h out_w 3"]:
    """Return the photo with each of an object's masks, side by side, the prompt on each; the most confident is said.

    Points on the object are green, those beside it red, the box yellow.
    """
    height, width = photo.shape[:2]
    scale = min(1.0, PANEL / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    cells = []
    for k, mask in enumerate(masks):
        best = len(masks) > 1 and k == int(np.argmax(iou))
        cells.append(
            Cell(
                picture=_panel(photo, mask, prompt, size=size, scale=scale),
                caption=f"mask {k + 1}{', most confident' if best else ''}",
                detail=f"predicted IoU {iou[k]:.2f}, {100 * float(mask.mean()):.1f}% of the photo",
            )
        )
    return Grid(rows=[cells], text=16).draw()


def _panel(
    photo: UInt8[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    prompt: DrawnPrompt,
    *,
    size: tuple[int, int],
    scale: float,
) -> UInt8[np.ndarray, "panel_h panel_w 3"]:
    """Return one panel; lines are drawn at twice its size and reduced, which smooths them."""
    fine = (size[0] * _FINE, size[1] * _FINE)
    pixels = np.asarray(Image.fromarray(photo).resize(fine, Image.Resampling.LANCZOS))
    inside = np.asarray(Image.fromarray(mask).resize(fine, Image.Resampling.NEAREST))
    painted = overlay(pixels, inside, PREDICTION)
    for width, colour in ((3 * _FINE, PREDICTION), (_FINE, PAPER)):
        painted = outline(painted, inside, colour, width=width)
    panel = Image.fromarray(painted)
    draw = ImageDraw.Draw(panel)
    if prompt.box is not None:
        x0, y0, x1, y1 = (_FINE * scale * side for side in prompt.box)
        draw_box(draw, (x0, y0, x1, y1), BOX, width=2 * _FINE)
    for x, y, foreground in prompt.points:
        at = (_FINE * scale * (x + 0.5), _FINE * scale * (y + 0.5))
        draw_point(draw, at, point_colour(foreground), radius=8.0 * _FINE)
    return np.asarray(panel.resize(size, Image.Resampling.BOX))
