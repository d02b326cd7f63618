"""Random changes of a photo's colours in training: brightness, contrast and saturation (torchvision's ColorJitter)."""

import dataclasses

import numpy as np
from PIL import Image, ImageEnhance


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColourChange:
    """Factors of brightness, contrast and saturation, applied in this order; 1 changes nothing, 0 is black, flat, grey.

    As PIL's enhancers define them: contrast is about the mean of the photo's grey values.
    """

    brightness: float
    contrast: float
    saturation: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, strength: float) -> "ColourChange":
        """Return factors drawn uniformly between 1 - `strength` and 1 + `strength`."""
        brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, size=3)
        return cls(brightness=float(brightness), contrast=float(contrast), saturation=float(saturation))

    def apply(self, photo: Image.Image) -> Image.Image:
        """Return an RGB photo with these changes, rounded and clipped to 8 bits after each."""
        photo = ImageEnhance.Brightness(photo).enhance(self.brightness)
        photo = ImageEnhance.Contrast(photo).enhance(self.contrast)
        return ImageEnhance.Color(photo).enhance(self.saturation)
