"""The colours of every picture and plot, as (red, green, blue) of 0 to 255."""

import colorsys

Colour = tuple[int, int, int]

PAPER, INK, FAINT = (255, 255, 255), (36, 41, 47), (101, 109, 118)
"""Background, text, and text that matters less."""
BORDER, GRID = (150, 158, 168), (216, 222, 228)
"""Lines around pictures and behind plots."""
TRUTH, PREDICTION = (46, 160, 67), (31, 111, 235)
"""Masks."""
FOREGROUND, BACKGROUND, BOX = (46, 190, 84), (238, 68, 60), (255, 201, 64)
"""Prompts: points on the object, points beside it, boxes."""
SERIES = (
    (31, 111, 235), (209, 87, 42), (45, 164, 78), (130, 80, 223), (191, 135, 0), (15, 122, 139), (207, 34, 46),
    (87, 96, 106),
)  # fmt: skip
"""Curves and bars of plots, in this order."""

_TURN = 0.61803398875  # of the hue from mask to mask: the golden section keeps neighbours apart


def mask_colour(place: int) -> Colour:
    """Return a bright colour for the mask at `place` of its photo, far from those of the places before."""
    red, green, blue = colorsys.hsv_to_rgb(place * _TURN % 1, (0.85, 0.6, 0.95)[place % 3], (1.0, 0.95, 0.8)[place % 3])
    return round(255 * red), round(255 * green), round(255 * blue)


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """Return `colour` with `share` of it, 0 to 1, replaced by `other`."""
    red, green, blue = (round((1 - share) * one + share * two) for one, two in zip(colour, other, strict=True))
    return red, green, blue


def as_hex(colour: Colour) -> str:
    """Return a colour as matplotlib takes it: #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*colour)
