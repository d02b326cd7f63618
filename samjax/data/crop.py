"""Random and central crops of photos for self-supervised pretraining (MAE, He et al. 2022, appendix A.1).

PIL's antialiased bicubic filter crops and scales in one step, so pixels at the border see their neighbours outside the
crop. Pixels are taken as stored, as in `samjax.data.frame`.

    rules = CropRules()
    image = random_crop(record.jpeg, rng, photo=(record.height, record.width), size=(224, 224), rules=rules)
"""

import dataclasses
import math
from typing import Annotated

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from samjax.core.errors import UserError
from samjax.core.ranges import Count, Probability, Range, config_class
from samjax.data.frame import Decoding, decode_photo

_Part = Annotated[float, Range(above=0, at_most=1, why="it is the share of the photo's area that a crop covers")]
_Aspect = Annotated[float, Range(above=0, below=100, why="it is a crop's width over its height")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Crop:
    """A rectangle of a photo, in pixels as stored."""

    top: int
    left: int
    height: int
    width: int
    flip: bool = False
    """Whether to mirror it, left and right."""


@config_class("data.crop")
class CropRules:
    """How random crops are drawn; the defaults are MAE's. Validation uses `central_crop` instead."""

    area: tuple[_Part, _Part] = (0.2, 1.0)
    """Smallest and largest share of the photo's area, drawn uniformly."""
    aspect: tuple[_Aspect, _Aspect] = (3 / 4, 4 / 3)
    """Smallest and largest aspect ratio, width over height, drawn uniformly in its logarithm."""
    tries: Count = 10
    """Attempts to draw a crop that fits into the photo; after these the largest central crop is used."""
    flip_probability: Probability = 0.5
    """Chance that a crop is mirrored, left and right."""

    def __post_init__(self):
        for name in ("area", "aspect"):
            least, most = getattr(self, name)
            if least > most:
                raise UserError(f"data.crop.{name} is {least, most}; give the least before the greatest")

    def draw(self, rng: np.random.Generator, *, photo: tuple[int, int]) -> Crop:
        """Return a crop of a `photo` of (height, width)."""
        height, width, top, left = self._draw_place(rng, photo)
        return Crop(top=top, left=left, height=height, width=width, flip=bool(rng.random() < self.flip_probability))

    def _draw_place(self, rng: np.random.Generator, photo: tuple[int, int]) -> tuple[int, int, int, int]:
        for _ in range(self.tries):
            area = photo[0] * photo[1] * float(rng.uniform(*self.area))
            aspect = math.exp(float(rng.uniform(math.log(self.aspect[0]), math.log(self.aspect[1]))))
            height, width = round(math.sqrt(area / aspect)), round(math.sqrt(area * aspect))
            if 0 < height <= photo[0] and 0 < width <= photo[1]:
                top, left = (int(rng.integers(spare + 1)) for spare in (photo[0] - height, photo[1] - width))
                return height, width, top, left
        least, most = self.aspect
        height = min(photo[0], max(1, round(photo[1] / least)))
        width = min(photo[1], max(1, round(photo[0] * most)))
        return height, width, (photo[0] - height) // 2, (photo[1] - width) // 2


def random_crop(
    jpeg: bytes,
    rng: np.random.Generator,
    *,
    photo: tuple[int, int],
    size: tuple[int, int],
    rules: CropRules,
    decoding: Decoding = Decoding.EXACT,
) -> UInt8[np.ndarray, "h w 3"]:
    """Return a random crop of a photo, scaled to `size`, whose aspect ratio it takes.

    Args:
      jpeg: the photo.
      rng: all randomness comes from it.
      photo: the (height, width) that the photo's record says.
      size: (height, width) to return.
      rules: how the crop is drawn.
      decoding: how many of the photo's pixels are decoded.

    Raises:
      PhotoError: neither a JPEG nor an 8-bit PNG, truncated, or not of the size that its record says.
    """
    return cut(jpeg, rules.draw(rng, photo=photo), photo=photo, size=size, decoding=decoding)


def cut(
    jpeg: bytes, crop: Crop, *, photo: tuple[int, int], size: tuple[int, int], decoding: Decoding = Decoding.EXACT
) -> UInt8[np.ndarray, "h w 3"]:
    """Return `crop` of a photo, scaled to `size`; arguments and errors are those of `random_crop`."""
    scaled = (math.ceil(photo[0] * size[0] / crop.height), math.ceil(photo[1] * size[1] / crop.width))
    picture, (decoded_width, decoded_height) = decode_photo(jpeg, photo=photo, scaled=scaled, decoding=decoding)
    across, down = decoded_width / photo[1], decoded_height / photo[0]
    box = (
        crop.left * across,
        crop.top * down,
        min((crop.left + crop.width) * across, picture.width),
        min((crop.top + crop.height) * down, picture.height),
    )
    pixels = np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box))
    return np.ascontiguousarray(pixels[:, ::-1]) if crop.flip else pixels


def central_crop(
    jpeg: bytes,
    *,
    photo: tuple[int, int],
    size: tuple[int, int],
    share: float = 224 / 256,
    decoding: Decoding = Decoding.EXACT,
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the middle of a photo whose shorter side is first scaled to `size / share`: what validation sees.

    Where `size` is no square, the photo is scaled to just cover `size / share`.

    Args:
      jpeg: the photo.
      photo: the (height, width) that the photo's record says.
      size: (height, width) to return.
      share: how much of the shorter side is seen; 224 / 256 is ImageNet's custom.
      decoding: how many of the photo's pixels are decoded.

    Raises:
      PhotoError: neither a JPEG nor an 8-bit PNG, truncated, or not of the size that its record says.
    """
    scale = max(size[0] / share / photo[0], size[1] / share / photo[1])
    scaled = (max(size[0], int(photo[0] * scale + 0.5)), max(size[1], int(photo[1] * scale + 0.5)))
    picture, extent = decode_photo(jpeg, photo=photo, scaled=scaled, decoding=decoding)
    whole = picture.resize((scaled[1], scaled[0]), Image.Resampling.BICUBIC, box=(0, 0, *extent))
    top, left = (scaled[0] - size[0]) // 2, (scaled[1] - size[1]) // 2
    return np.asarray(whole.crop((left, top, left + size[1], top + size[0])))
