"""What synthetic photos show: outlines in two colours, with smaller ones on them (whole, part, subpart)."""

import colorsys
import dataclasses
import math

import numpy as np
from jaxtyping import Float

from samjax.data.synthetic.textures import TEXTURES

_PARTS_CHANCE = (0.7, 0.35, 0.0)
"""That a whole has parts, a part subparts, and a subpart anything: three levels."""
_CORNERS = 60  # of a smooth outline: at 1,500 pixels across, within a pixel of the curve
_PART_OUTLINES = 0.35  # parts that look like the whole's outline made smaller: panes, plates, pupils


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """An outline filled with two colours, and the shapes on it, front to back.

    A whole's outline encloses an area of 1 around the origin, y down; its parts use the same frame, and may reach over
    its border: only what lies inside their parent is ever shown.
    """

    outline: Float[np.ndarray, "corners 2"]
    colour: Float[np.ndarray, "3"]
    """RGB, 0 to 255."""
    second_colour: Float[np.ndarray, "3"]
    """What the texture mixes in."""
    texture: int
    """Index into `samjax.data.synthetic.textures`."""
    parts: tuple["Shape", ...] = ()

    @property
    def masks(self) -> int:
        """This shape and all the shapes on it."""
        return 1 + sum(part.masks for part in self.parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Palette:
    """Colours that go together: a few hues of one photo."""

    hues: Float[np.ndarray, "hues"]

    @staticmethod
    def draw(rng: np.random.Generator) -> "Palette":
        """Return a palette: neighbouring hues, their complement, and a stray."""
        base = rng.random()
        return Palette(hues=(base + np.array([0.0, 0.06, -0.08, 0.14, 0.5, 0.55, rng.random()])) % 1)

    def colour(self, rng: np.random.Generator) -> Float[np.ndarray, "3"]:
        """Return a colour of the palette."""
        hue = float(rng.choice(self.hues)) + rng.normal(0, 0.02)
        return _rgb(hue, saturation=rng.beta(1.7, 3.2), value=rng.uniform(0.25, 0.98))

    def contrast(self, rng: np.random.Generator, *, to: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
        """Return a colour of the palette that can be told from `to`: the first of a few far enough, else the best."""
        best, distance = to, -1.0
        for _ in range(8):
            colour = self.colour(rng)
            if (away := float(np.linalg.norm(colour - to))) > distance:
                best, distance = colour, away
            if distance > 90:
                break
        return best


def draw_whole(rng: np.random.Generator, palette: Palette) -> Shape:
    """Return a thing: an outline, most often with parts, some of which have subparts."""
    outline = _draw_outline(rng)
    outline = outline - outline.mean(axis=0)
    return _fill(rng, palette, outline / math.sqrt(_enclosed(outline)), colour=palette.colour(rng), level=1)


def draw_backdrop(rng: np.random.Generator, palette: Palette, *, layers: int) -> list[Shape]:
    """Return what lies behind all things, front to back, in the frame of the photo: (0, 0) to (1, 1).

    Each layer is everything below a horizon; the last one is everything.
    """
    horizons = np.sort(rng.uniform(0.2, 0.85, layers - 1))[::-1]
    x = np.linspace(-0.01, 1.01, 120)
    colour = palette.colour(rng)
    shapes = []
    for height in [*horizons, None]:
        skyline = np.full_like(x, -0.01) if height is None else height + _ridge(rng, x)
        outline = np.stack([np.append(x, [1.01, -0.01]), np.append(skyline, [1.01, 1.01])], axis=-1)
        shapes.append(_fill(rng, palette, outline, colour=colour, level=2))  # patches of ground, clouds
        colour = palette.contrast(rng, to=colour)
    return shapes


def _ridge(rng: np.random.Generator, x: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Return a skyline around 0: a straight edge, or hills."""
    slope = rng.normal(0, 0.04) * (x - 0.5)
    if rng.random() < 0.4:
        return slope
    waves = np.arange(1, 9)
    heights = rng.normal(0, 0.06, len(waves)) / waves
    return slope + np.sin(2 * np.pi * waves * x[:, None] + rng.uniform(0, 2 * np.pi, len(waves))) @ heights


def _fill(
    rng: np.random.Generator,
    palette: Palette,
    outline: Float[np.ndarray, "corners 2"],
    *,
    colour: Float[np.ndarray, "3"],
    level: int,
) -> Shape:
    """Return a shape with that outline, and parts down to the deepest level."""
    parts = _draw_parts(rng, outline) if rng.random() < _PARTS_CHANCE[level - 1] else []
    return Shape(
        outline=outline,
        colour=colour,
        second_colour=np.clip(colour * rng.uniform(0.6, 1.15) + rng.normal(0, 14, 3), 0, 255),
        texture=int(rng.integers(TEXTURES)),
        parts=tuple(
            _fill(rng, palette, part, colour=palette.contrast(rng, to=colour), level=level + 1) for part in parts
        ),
    )


def _draw_outline(rng: np.random.Generator) -> Float[np.ndarray, "corners 2"]:
    """Return an ellipse, a rounded box, a blob, a star or a polygon, stretched."""
    aspect = math.exp(rng.normal(0, 0.35))
    stretch = np.array([math.sqrt(aspect), 1 / math.sqrt(aspect)])
    kind = rng.choice(["ellipse", "box", "blob", "star", "polygon"], p=[0.2, 0.3, 0.25, 0.05, 0.2])
    if kind == "polygon":
        corners = int(rng.integers(3, 8))
        angle = 2 * np.pi * (np.arange(corners) + rng.uniform(-0.25, 0.25, corners)) / corners + rng.uniform(0, np.pi)
        return _around(angle, rng.uniform(0.75, 1.0, corners)) * stretch
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    radius = np.ones(_CORNERS)
    if kind == "box":
        power = rng.uniform(4, 12)
        radius = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
    elif kind == "blob":
        waves = np.arange(2, 7)
        heights = rng.normal(0, 0.35, len(waves)) / waves
        radius = 1 + np.sin(waves * angle[:, None] + rng.uniform(0, 2 * np.pi, len(waves))) @ heights
    elif kind == "star":
        radius = 1 + rng.uniform(0.2, 0.4) * np.cos(int(rng.integers(3, 8)) * angle)
    return _around(angle, np.maximum(radius, 0.25)) * stretch


def _draw_parts(rng: np.random.Generator, outline: Float[np.ndarray, "corners 2"]) -> list[Float[np.ndarray, "_ 2"]]:
    """Return outlines of parts: bands across the parent, spots on it, or a smaller copy of it, front to back."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    centre, half = (low + high) / 2, (high - low) / 2
    kind = rng.choice(["bands", "spots", "copy"], p=[0.3, 0.45, 0.25])
    if kind == "bands":
        count = int(rng.integers(1, 4))
        cuts = np.sort(rng.uniform(-0.95, 0.95, 2 * count)).reshape(count, 2)
        return [_band(rng, centre, half, top=top, bottom=bottom) for top, bottom in cuts]
    if kind == "copy":
        scale, shift = rng.uniform(0.45, 0.8), rng.uniform(-0.1, 0.1, 2) * half
        return [centre + shift + scale * (outline - centre)]
    parts = []
    for _ in range(int(rng.integers(1, 4))):
        own = outline - centre if rng.random() < _PART_OUTLINES else _draw_outline(rng)
        place = rng.uniform(-0.6, 0.6, 2) * half
        part = own * math.sqrt(rng.uniform(0.015, 0.16) * 4 * half.prod() / _enclosed(own))
        parts.append(centre + place + part)
        if rng.random() < 0.4:  # eyes, wheels, windows come in pairs
            parts.append(centre + place * [-1, 1] + part * [-1, 1])
    return parts


def _band(
    rng: np.random.Generator, centre: Float[np.ndarray, "2"], half: Float[np.ndarray, "2"], *, top: float, bottom: float
) -> Float[np.ndarray, "corners 2"]:
    """Return a bent band across the box around `centre`, between two of its heights (-1 to 1)."""
    x = np.linspace(-1.2, 1.2, 12)
    bend = rng.normal(0, 0.15) * (1 - x**2)
    upper, lower = np.stack([x, top + bend], axis=-1), np.stack([x, bottom + bend], axis=-1)
    return centre + half * np.concatenate([upper, lower[::-1]])


def _around(angle: Float[np.ndarray, "n"], radius: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n 2"]:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _enclosed(outline: Float[np.ndarray, "corners 2"]) -> float:
    """Return the area inside an outline."""
    x, y = outline.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _rgb(hue: float, *, saturation: float, value: float) -> Float[np.ndarray, "3"]:
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))
