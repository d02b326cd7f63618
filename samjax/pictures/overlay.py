"""Masks, points and boxes drawn over their photo."""

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import ImageDraw

from samjax.pictures.colours import BACKGROUND, FOREGROUND, Colour


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


def draw_point(draw: ImageDraw.ImageDraw, at: tuple[float, float], colour: Colour, *, radius: float) -> None:
    """Draw a prompted point: a disc in a white ring of `radius` pixels, with a dark rim that shows on white."""
    x, y = at
    for share, fill in ((1.2, (0, 0, 0)), (1.0, (255, 255, 255)), (0.72, colour)):
        reach = share * radius
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)


def point_colour(foreground: bool) -> Colour:
    """Return green for a point on the object, red for one beside it."""
    return FOREGROUND if foreground else BACKGROUND


def draw_box(draw: ImageDraw.ImageDraw, box: tuple[float, float, float, float], colour: Colour, *, width: int) -> None:
    """Draw a prompted box (x0, y0, x1, y1), its line `width` pixels wide between dark ones of half that."""
    x0, y0, x1, y1 = box
    rim = width // 2
    draw.rectangle((x0 - rim, y0 - rim, x1 + rim, y1 + rim), outline=(0, 0, 0), width=width + 2 * rim)
    draw.rectangle((x0, y0, x1, y1), outline=colour, width=width)
