"""Photometric distortion as SSD draws it (Liu et al. 2016), which semantic segmentation trains with."""

from typing import Annotated, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from samjax.core.errors import UserError
from samjax.core.ranges import Probability, Range, config_class

_Shift = Annotated[float, Range(at_least=0, at_most=255, why="it is a number of grey levels")]
_Degrees = Annotated[float, Range(at_least=0, at_most=180, why="it turns the circle of hues")]
_Factor = Annotated[float, Range(at_least=0, below=16, why="pixels are multiplied by it")]


@config_class("data.photometric")
class PhotometricConfig:
    """Each change is made with `probability`, drawn uniformly; the defaults are mmsegmentation's."""

    probability: Probability = 0.5
    """Of each of the four changes; 0 makes none."""
    brightness: _Shift = 32.0
    """Grey levels added, from minus this to this."""
    contrast: tuple[_Factor, _Factor] = (0.5, 1.5)
    """Factors of every pixel."""
    saturation: tuple[_Factor, _Factor] = (0.5, 1.5)
    """Factors of the saturation."""
    hue: _Degrees = 36.0
    """Degrees that hues are turned by, from minus this to this: 18 of OpenCV's 180."""

    def __post_init__(self):
        for name in ("contrast", "saturation"):
            least, most = getattr(self, name)
            if least > most:
                raise UserError(f"data.photometric.{name} is {least, most}; give the least before the greatest")

    def draw(self, rng: np.random.Generator) -> "PhotometricChange":
        """Return a change; it takes the same numbers from `rng` whatever is drawn."""
        made = rng.random(4) < self.probability
        contrast_last = bool(rng.random() < 0.5)
        drawn = (
            rng.uniform(-self.brightness, self.brightness),
            rng.uniform(*self.contrast),
            rng.uniform(*self.saturation),
            rng.uniform(-self.hue, self.hue),
        )
        shift, contrast, saturation, hue = (
            float(value if do else neutral) for value, do, neutral in zip(drawn, made, (0, 1, 1, 0), strict=True)
        )
        return PhotometricChange(shift, contrast, saturation, hue, contrast_last)


class PhotometricChange(NamedTuple):
    """Brightness, contrast, saturation, hue; contrast after brightness, or last of all."""

    brightness: float
    """Grey levels added."""
    contrast: float
    """What pixels are multiplied by."""
    saturation: float
    """What the saturation is multiplied by."""
    hue: float
    """Degrees."""
    contrast_last: bool

    def apply(self, photo: Image.Image) -> Image.Image:
        """Return an RGB photo with these changes, rounded and clipped to 8 bits after each."""
        pixels = _linear(np.asarray(photo), 1.0, self.brightness)
        if not self.contrast_last:
            pixels = _linear(pixels, self.contrast, 0.0)
        if (self.saturation, self.hue) != (1, 0):
            hsv = np.asarray(Image.fromarray(pixels).convert("HSV")).astype(np.int32)
            hsv[..., 0] = (hsv[..., 0] + round(self.hue * 256 / 360)) % 256
            hsv[..., 1] = np.clip(np.round(hsv[..., 1] * self.saturation), 0, 255)
            pixels = np.asarray(Image.fromarray(hsv.astype(np.uint8), mode="HSV").convert("RGB"))
        if self.contrast_last:
            pixels = _linear(pixels, self.contrast, 0.0)
        return Image.fromarray(pixels)


def _linear(pixels: UInt8[np.ndarray, "h w 3"], factor: float, shift: float) -> UInt8[np.ndarray, "h w 3"]:
    if (factor, shift) == (1.0, 0.0):
        return pixels
    table = np.clip(np.round(np.arange(256) * factor + shift), 0, 255).astype(np.uint8)
    return table[pixels]
