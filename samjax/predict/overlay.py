"""Masks drawn over their photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageFont

PANEL = 960
"""Longest side of a photo in a picture of predictions, in pixels."""

_GAP, _CAPTION, _FINE = 16, 44, 2
_MASK, _EDGE, _BOX = (31, 111, 235), (255, 255, 255), (255, 201, 64)
_FOREGROUND, _BACKGROUND = (46, 190, 84), (238, 68, 60)
_INK, _FAINT, _PAPER = (36, 41, 47), (101, 109, 118), (255, 255, 255)


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
    across = max(size[0], 260)
    sheet = Image.new("RGB", (_GAP + len(masks) * (across + _GAP), size[1] + _CAPTION + 2 * _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for k, mask in enumerate(masks):
        left = _GAP + k * (across + _GAP)
        sheet.paste(_panel(photo, mask, prompt, size=size, scale=scale), (left, _GAP + _CAPTION))
        best = len(masks) > 1 and k == int(np.argmax(iou))
        draw.text((left, _GAP), f"mask {k + 1}{', most confident' if best else ''}", fill=_INK, font=text_font(18))
        share = 100 * float(mask.mean())
        draw.text(
            (left, _GAP + 21), f"predicted IoU {iou[k]:.2f}, {share:.1f}% of the photo", fill=_FAINT, font=text_font(14)
        )
    return np.asarray(sheet)


def _panel(
    photo: UInt8[np.ndarray, "h w 3"],
    mask: Bool[np.ndarray, "h w"],
    prompt: DrawnPrompt,
    *,
    size: tuple[int, int],
    scale: float,
) -> Image.Image:
    """Return one panel; lines are drawn at twice its size and reduced, which smooths them."""
    fine = (size[0] * _FINE, size[1] * _FINE)
    pixels = np.asarray(Image.fromarray(photo).resize(fine, Image.Resampling.LANCZOS))
    inside = np.asarray(Image.fromarray(mask).resize(fine, Image.Resampling.NEAREST))
    painted = overlay(pixels, inside, _MASK)
    for width, colour in ((3 * _FINE, _MASK), (_FINE, _EDGE)):
        painted = outline(painted, inside, colour, width=width)
    panel = Image.fromarray(painted)
    draw = ImageDraw.Draw(panel)
    if prompt.box is not None:
        box = [_FINE * scale * side for side in prompt.box]
        draw.rectangle(box, outline=(0, 0, 0), width=4 * _FINE)
        draw.rectangle([box[0] + _FINE, box[1] + _FINE, box[2] - _FINE, box[3] - _FINE], outline=_BOX, width=2 * _FINE)
    for x, y, foreground in prompt.points:
        draw_point(draw, (_FINE * scale * (x + 0.5), _FINE * scale * (y + 0.5)), foreground, radius=8.0 * _FINE)
    return panel.resize(size, Image.Resampling.BOX)


def draw_point(draw: ImageDraw.ImageDraw, at: tuple[float, float], foreground: bool, *, radius: float) -> None:
    """Draw a prompted point, green on the object and red beside it, ringed in white."""
    (x, y), colour = at, _FOREGROUND if foreground else _BACKGROUND
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_EDGE)
    inner = 0.72 * radius
    draw.ellipse((x - inner, y - inner, x + inner, y + inner), fill=colour)


def overlay(
    image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], colour: tuple[int, int, int]
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the photo, dimmed outside `mask` and tinted inside."""
    inside = 0.45 * image + 0.55 * np.array(colour)
    return np.where(mask[..., None], inside, 0.6 * image + 60).astype(np.uint8)


def outline(
    image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], colour: tuple[int, int, int], *, width: int = 1
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the photo with the mask's border drawn, inwards, `width` pixels wide."""
    inner = mask
    for _ in range(width):
        padded = np.pad(inner, 1)
        inner = inner & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.where((mask & ~inner)[..., None], np.array(colour, np.uint8), image)


def text_font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Return the font that pictures are labelled in, `size` pixels high."""
    return ImageFont.load_default(size=size)
