"""Photos as the models take them: zero mean and unit variance per channel."""

import enum

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from samjax.core.batches import valid_pixels

PIXEL_MEAN = (123.675, 116.28, 103.53)
"""Mean of ImageNet's red, green and blue, of 255."""
PIXEL_STD = (58.395, 57.12, 57.375)
"""Standard deviation of ImageNet's red, green and blue, of 255."""


class PixelStatistics(enum.Enum):
    """Whose mean and standard deviation a photo's channels are brought to 0 and 1 with."""

    IMAGENET = "imagenet"
    """Those of ImageNet's photos, as all released models have it."""
    HALF = "half"
    """A half and a half, of 1: the pixels from -1 to 1, as ViTs of ImageNet-21k and DPT have them."""
    PHOTO = "photo"
    """The photo's own: for microscopes and other instruments, where exposure and stain differ from photo to photo."""


def normalise(
    image: UInt8[Array, "b h w 3"],
    valid_size: Int[Array, "b 2"] | None = None,
    statistics: PixelStatistics = PixelStatistics.IMAGENET,
) -> Float[Array, "b h w 3"]:
    """Return photos with zero mean and unit variance per channel.

    `valid_size` is the (height, width) that each photo fills from the top left, None where it fills its frame. The
    padding beyond it is zero after normalisation, not before, and is not part of a photo's own statistics.
    """
    pixels, inside = image.astype(jnp.float32), None
    if valid_size is not None:
        inside = valid_pixels(valid_size, (image.shape[1], image.shape[2]))[..., None]
    if statistics is PixelStatistics.PHOTO:
        mean = jnp.mean(pixels, axis=(1, 2), keepdims=True, where=inside)
        variance = jnp.mean((pixels - mean) ** 2, axis=(1, 2), keepdims=True, where=inside)
        scaled = (pixels - mean) / jnp.sqrt(variance + 1.0)  # a level's noise in an empty photo stays below 1
    elif statistics is PixelStatistics.HALF:
        scaled = pixels / 127.5 - 1.0
    else:
        scaled = (pixels - jnp.array(PIXEL_MEAN)) / jnp.array(PIXEL_STD)
    return scaled if inside is None else jnp.where(inside, scaled, 0.0)


def normalise_once(
    image: UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"],
    valid_size: Int[Array, "b 2"] | None,
    statistics: PixelStatistics,
) -> Float[Array, "b h w 3"]:
    """Return photos of bytes normalised as `normalise` does it, and others as they are: they are normalised already."""
    return normalise(image, valid_size, statistics) if image.dtype == jnp.uint8 else image
