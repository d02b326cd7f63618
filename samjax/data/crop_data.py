"""Crops of photos whose every pixel is known by a map: how they are drawn, and what of the map they show."""

import dataclasses
from collections.abc import Callable
from dataclasses import field
from typing import Annotated

import numpy as np
from jaxtyping import Shaped, UInt8

from samjax.core.errors import UserError
from samjax.core.ranges import Count, Pixels, Probability, Range, config_class
from samjax.data.frame import Decoding, frame_photo
from samjax.data.masks.packing import nearest_positions
from samjax.data.segments.photometric import PhotometricChange, PhotometricConfig
from samjax.data.stream.data_config import DataConfig
from samjax.data.view import WHOLE, View

Factor = Annotated[float, Range(above=0, below=16, why="a photo's size is multiplied by it")]


@config_class("data")
class CropDataConfig(DataConfig):
    """Photos of which training sees random crops, and validation the whole, scaled to fit the model's frame."""

    fit: tuple[Pixels, Pixels] = (2048, 512)
    """Longest and shortest side that the whole photo is scaled to fit, before `scale_jitter`. Training only."""
    scale_jitter: tuple[Factor, Factor] = (0.5, 2.0)
    """Smallest and largest random factor of the fitted photo's size, drawn uniformly. Training only."""
    aspect_jitter: tuple[Factor, Factor] = (1.0, 1.0)
    """Smallest and largest random factor of the photo's width alone. Training only."""
    crop_tries: Count = 10
    """How often a crop is drawn at most; the last one is taken."""
    flip_probability: Probability = 0.5
    """Probability that a crop is mirrored, left and right. Training only."""
    photometric: PhotometricConfig = field(default_factory=PhotometricConfig)
    """Random changes of colours. Training only."""
    decoding: Decoding = Decoding.EXACT
    """EXACT decodes all of a photo's pixels, SCALED no more than its scale needs, which is faster."""

    def __post_init__(self):
        for name in ("scale_jitter", "aspect_jitter"):
            least, most = getattr(self, name)
            if least > most:
                raise UserError(f"data.{name} is {least, most}; give the least factor before the greatest")
        if self.fit[0] < self.fit[1]:
            raise UserError(f"data.fit is {self.fit}; give the longest side before the shortest")

    def fit_size(self, photo: tuple[int, int]) -> tuple[float, float]:
        """Return the (height, width) that a `photo` of (height, width) has before it is jittered."""
        longest, shortest = max(photo), min(photo)
        scale = min(self.fit[0] / longest, self.fit[1] / shortest)
        return photo[0] * scale, photo[1] * scale

    def draw(
        self,
        rng: np.random.Generator,
        *,
        photo: tuple[int, int],
        frame: tuple[int, int],
        is_good: Callable[[View], bool],
        augment: bool,
    ) -> tuple[View, PhotometricChange | None]:
        """Return a view, and how its colours change.

        Args:
          rng: what is drawn from.
          photo: its (height, width).
          frame: the (height, width) of the largest crop.
          is_good: whether a view, which is not mirrored yet, may be taken; else another corner is drawn.
          augment: with False the whole photo is scaled to fit the frame.
        """
        if not augment:
            return WHOLE.draw(rng, photo=photo, frame=frame), None
        factor, aspect = float(rng.uniform(*self.scale_jitter)), float(rng.uniform(*self.aspect_jitter))
        height, width = self.fit_size(photo)
        scaled = max(1, round(height * factor)), max(1, round(width * factor * aspect))
        window = min(scaled[0], frame[0]), min(scaled[1], frame[1])
        flip = bool(rng.random() < self.flip_probability)
        view = View(photo=photo, scaled_size=scaled, corner=(0, 0), window=window, flip=flip)
        for _ in range(self.crop_tries):
            corner = tuple(int(rng.integers(one - part + 1)) for one, part in zip(scaled, window, strict=True))
            view = dataclasses.replace(view, corner=corner)
            if is_good(view):
                break
        return view, self.photometric.draw(rng)

    def frame_photo(
        self, jpeg: bytes, view: View, colours: PhotometricChange | None, *, frame: tuple[int, int]
    ) -> UInt8[np.ndarray, "frame_h frame_w 3"]:
        """Return a view of a photo at the top left of `frame`; errors are those of `data.frame.frame_photo`."""
        return frame_photo(jpeg, view=view, frame=frame, decoding=self.decoding, colours=colours)


def frame_map(
    values: Shaped[np.ndarray, "h w"], view: View, frame: tuple[int, int], *, around: int
) -> Shaped[np.ndarray, "frame_h frame_w"]:
    """Return a view of a map at the top left of `frame`, each pixel the nearest of the photo, and `around` it."""
    found = np.full(frame, around, values.dtype)
    height, width = view.window
    found[:height, :width] = window_of(values, view)[:: -1 if view.upside_down else 1, :: -1 if view.flip else 1]
    return found


def window_of(values: Shaped[np.ndarray, "h w"], view: View) -> Shaped[np.ndarray, "vh vw"]:
    """Return what of a map is in a view's window, not mirrored."""
    rows, columns = (
        nearest_positions(source=source, target=target)[start : start + length]
        for source, target, start, length in zip(view.photo, view.scaled_size, view.corner, view.window, strict=True)
    )
    return values[rows[:, None], columns]
