"""Where a photo is looked at for masks without prompts: crops in layers, and a grid of points in each."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A window of a photo in pixels, its far edges outside; layer 0 is the whole photo."""

    layer: int
    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def height(self) -> int:
        """In pixels, as `width`."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """In pixels."""
        return self.x1 - self.x0

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The window as (x0, y0, x1, y1)."""
        return self.x0, self.y0, self.x1, self.y1


def crops_of(*, height: int, width: int, layers: int, overlap: float) -> list[Crop]:
    """Return the crops of a photo, layer after layer, in a layer column after column.

    Layer i has 2^i crops a side. Neighbours overlap by `overlap` of the photo's shorter side in layer 1, and by half as
    much in each layer after it. A photo of few pixels has no room for all; those without a pixel are left out.
    """
    crops = [Crop(layer=0, x0=0, y0=0, x1=width, y1=height)]
    for layer in range(1, layers + 1):
        side = 2**layer
        shared = int(overlap * min(height, width) * (2 / side))
        tall, wide = (math.ceil((shared * (side - 1) + pixels) / side) for pixels in (height, width))
        for x0 in ((wide - shared) * i for i in range(side)):
            for y0 in ((tall - shared) * i for i in range(side)):
                crop = Crop(layer=layer, x0=x0, y0=y0, x1=min(x0 + wide, width), y1=min(y0 + tall, height))
                if crop.width > 0 and crop.height > 0:
                    crops.append(crop)
    return crops


def point_grid(side: int) -> Float64[np.ndarray, "n 2"]:
    """Return `side` x `side` points (x, y) of the unit square, row after row: the centres of as many cells."""
    centres = np.linspace(1 / (2 * side), 1 - 1 / (2 * side), side)
    x, y = np.meshgrid(centres, centres)
    return np.stack([x, y], axis=-1).reshape(-1, 2)
