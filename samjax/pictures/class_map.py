"""Maps of classes as pictures: in the classes' colours, over their photo, and the legend that names them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw

from samjax.core.text import printable
from samjax.pictures.canvas import text_font
from samjax.pictures.colours import INK, PAPER, Colour, mask_colour

UNKNOWN: Colour = (0, 0, 0)
"""Of pixels without a class."""
_SHARE = 0.55
"""Of the class's colour in an overlay."""


def class_colours(given: Sequence[Colour | None]) -> tuple[Colour, ...]:
    """Return a colour for each class: its own, or one by its number."""
    return tuple(mask_colour(number) if colour is None else colour for number, colour in enumerate(given))


def paint_classes(classes: Int[np.ndarray, "h w"], colours: Sequence[Colour]) -> UInt8[np.ndarray, "h w 3"]:
    """Return each pixel in its class's colour; black where the class is negative."""
    table = np.array([*colours, UNKNOWN], np.uint8)
    return table[np.where(classes < 0, len(colours), classes)]


def overlay_classes(
    photo: UInt8[np.ndarray, "h w 3"], classes: Int[np.ndarray, "h w"], colours: Sequence[Colour]
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the photo tinted by the classes' colours; untouched where the class is negative."""
    tinted = (1 - _SHARE) * photo + _SHARE * paint_classes(classes, colours)
    return np.where((classes < 0)[..., None], photo, np.round(tinted)).astype(np.uint8)


def legend(
    names: Sequence[str], colours: Sequence[Colour], *, height: int, text: int = 14
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a strip of coloured squares with the classes' names, in columns of `height` pixels."""
    font, line = text_font(text), text + 6
    rows = max(1, (height - 6) // line)
    columns = [range(start, min(start + rows, len(names))) for start in range(0, len(names), rows)]
    widths = [max(round(font.getlength(printable(names[i]))) for i in column) + text + 20 for column in columns]
    picture = Image.new("RGB", (max(sum(widths), 1), max(height, line + 6)), PAPER)
    draw, left = ImageDraw.Draw(picture), 0
    for column, width in zip(columns, widths, strict=True):
        for row, number in enumerate(column):
            top = 3 + row * line
            draw.rectangle((left + 6, top + 2, left + 6 + text, top + 2 + text), fill=tuple(colours[number]))
            draw.text((left + text + 12, top + 1), printable(names[number]), font=font, fill=INK)
        left += width
    return np.asarray(picture)
