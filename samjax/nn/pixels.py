"""Photos as the models take them: zero mean and unit variance per channel."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from samjax.core.batches import valid_pixels

PIXEL_MEAN = (123.675, 116.28, 103.53)
"""Mean of ImageNet's red, green and blue, of 255."""
PIXEL_STD = (58.395, 57.12, 57.375)
"""Standard deviation of ImageNet's red, green and blue, of 255."""


def normalise(image: UInt8[Array, "b h w 3"], valid_size: Int[Array, "b 2"] | None = None) -> Float[Array, "b h w 3"]:
    """Return photos with zero mean and unit variance per channel.

    `valid_size` is the (height, width) that each photo fills from the top left, None where it fills its frame. The
    padding beyond it is zero after normalisation, not before.
    """
    scaled = (image.astype(jnp.float32) - jnp.array(PIXEL_MEAN)) / jnp.array(PIXEL_STD)
    if valid_size is None:
        return scaled
    inside = valid_pixels(valid_size, (image.shape[1], image.shape[2]))
    return jnp.where(inside[..., None], scaled, 0.0)
