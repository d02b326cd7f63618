"""A synthetic photo: a backdrop, things of all sizes on it, and the mask of what shows of each.

Sizes follow SA-1B's spread (Segment Anything, section 5 and figure 6): most masks are small, a few fill the photo.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float
from PIL import Image

from samjax.data.synthetic.scene import Place, Scene, ShownMask, least_pixels
from samjax.data.synthetic.shapes import Palette, Shape, draw_backdrop, draw_whole

_THING = (3e-4, 0.16)
"""Share of the photo that a thing covers before anything hides it."""
_MAIN_THING = (0.15, 0.5)
_MAIN_CHANCE = 0.6
_GROUP_CHANCE = 0.25
_GROUPED = 0.02  # share of the photo up to which things come in groups
_SHOWN = 0.78  # share of a photo's shapes that others leave visible, over many photos


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyntheticPhoto:
    """A photo and its masks; a parent comes before its parts."""

    image: Image.Image
    masks: tuple[ShownMask, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Thing:
    shape: Shape
    place: Place
    depth: float


def draw_photo(rng: np.random.Generator, *, size: tuple[int, int], masks: int) -> SyntheticPhoto:
    """Return a photo of `size` = (h, w) with about `masks` masks, fewer where it has too few pixels for them."""
    scene = Scene(rng, size=size)
    palette = Palette.draw(rng)
    backdrop = draw_backdrop(rng, palette, layers=int(rng.integers(2, 5)))
    wanted = masks - sum(shape.masks for shape in backdrop)
    for thing in _draw_things(rng, palette, masks=round(wanted / _SHOWN), size=size):
        scene.add(thing.shape, thing.place)
    frame = Place(matrix=np.diag([size[1], size[0]]).astype(float), centre=np.zeros(2))
    for shape in backdrop:
        scene.add_behind(shape, frame)
    return SyntheticPhoto(image=scene.image(), masks=tuple(scene.masks))


def _draw_things(rng: np.random.Generator, palette: Palette, *, masks: int, size: tuple[int, int]) -> list[_Thing]:
    """Return things with `masks` shapes in all, alone or in groups, front to back: mostly the smaller in front."""
    extent: Float[np.ndarray, "2"] = np.array([size[1], size[0]], float)
    pixels = size[0] * size[1]
    least = min(max(_THING[0], 2 * least_pixels(size) / pixels), _THING[1])
    things: list[_Thing] = []

    def lay(shape: Shape, *, share: float, centre: Float[np.ndarray, "2"], turn: float) -> None:
        cosine, sine, scale = math.cos(turn), math.sin(turn), math.sqrt(share * pixels)
        place = Place(matrix=scale * np.array([[cosine, -sine], [sine, cosine]]), centre=centre)
        things.append(_Thing(shape=shape, place=place, depth=share * math.exp(rng.normal(0, 0.5))))

    if masks > 0 and rng.random() < _MAIN_CHANCE:
        shape = draw_whole(rng, palette)
        centre = extent * rng.uniform(0.25, 0.75, 2)
        lay(shape, share=rng.uniform(*_MAIN_THING), centre=centre, turn=rng.normal(0, 0.1))
        masks -= shape.masks
    while masks > 0:
        shape = draw_whole(rng, palette)
        share = math.exp(rng.uniform(math.log(least), math.log(_THING[1])))
        turn = rng.normal(0, 0.15) if rng.random() < 0.7 else rng.uniform(0, 2 * math.pi)
        centre, along = extent * rng.random(2), rng.uniform(0, 2 * math.pi)
        step = rng.uniform(1.0, 1.6) * math.sqrt(share * pixels) * np.array([math.cos(along), math.sin(along)])
        members = int(rng.integers(2, 7)) if share < _GROUPED and rng.random() < _GROUP_CHANCE else 1
        for member in range(members):
            own_share = share * math.exp(rng.normal(0, 0.1))
            lay(shape, share=own_share, centre=centre + member * step, turn=turn + rng.normal(0, 0.05))
            masks -= shape.masks
    return sorted(things, key=lambda thing: thing.depth)
