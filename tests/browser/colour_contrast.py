"""Contrast of the page's colours, by WCAG 2."""

import re
from pathlib import Path

STYLE = Path(__file__).parents[2] / "samjax" / "annotate" / "static" / "style.css"


def tokens():
    """Return the colours that the style sheet names."""
    return dict(re.findall(r"--([\w-]+): #([0-9a-f]{6});", STYLE.read_text()))


def luminance(colour):
    channels = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [side / 12.92 if side <= 0.04045 else ((side + 0.055) / 1.055) ** 2.4 for side in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
