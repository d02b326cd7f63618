"""Photos of a floor and boxes whose depth is known: what is nearer is brighter, and boxes have colours of their own."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image


def depth_scene(
    seed: int, *, size: tuple[int, int] = (64, 64)
) -> tuple[UInt8[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"]]:
    """Return a photo, and its depth in metres: a floor from 8 metres at the top to 2 at the bottom, and three boxes."""
    draw, (height, width) = np.random.default_rng(seed), size
    inverse = np.broadcast_to(np.linspace(1 / 8, 1 / 2, height)[:, None], size).copy()
    shade = np.stack([inverse * 300, inverse * 200, 160 - inverse * 200], axis=-1)
    for _ in range(3):
        top, left = draw.integers(0, height // 2), draw.integers(0, width // 2)
        box = np.s_[top : top + height // 3, left : left + width // 3]
        inverse[box] = draw.uniform(0.3, 1.0)
        shade[box] = inverse[box][..., None] * draw.uniform(120, 240, 3)
    photo = np.clip(shade + draw.normal(0, 4, shade.shape), 0, 255).astype(np.uint8)
    return photo, (1 / inverse).astype(np.float32)


def write_depth_scenes(folder: Path, *, photos: int, size: tuple[int, int] = (64, 64), scale: int = 1000) -> Path:
    """Write `photos/N.png` and `depth/N.png`, grey of 16 bits, `scale` a metre; return the folder."""
    for kind in ("photos", "depth"):
        (folder / kind).mkdir(parents=True)
    for number in range(photos):
        photo, depth = depth_scene(number, size=size)
        Image.fromarray(photo).save(folder / "photos" / f"{number}.png")
        Image.fromarray(np.round(depth * scale).astype(np.uint16)).save(folder / "depth" / f"{number}.png")
    return folder
