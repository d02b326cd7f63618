"""Dice loss of a mask."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32


def dice_loss(
    logits: Float[Array, "*n h w"],
    target: Bool[Array, "*#n h w"],
    pixel_weight: Bool[Array, "*#n h w"],
    *,
    smoothing: float = 1.0,
) -> Float32[Array, "*n"]:
    """Return 1 - (2 sum p t + s) / (sum p + sum t + s) over the weighted pixels of each mask, in float32.

    p are probabilities, t the target, s the smoothing, which makes an empty prediction of an empty target perfect
    (Milletari et al., 2016).
    """
    probability = jnp.where(pixel_weight, jax.nn.sigmoid(logits.astype(jnp.float32)), 0.0)
    overlap = jnp.sum(jnp.where(target, probability, 0.0), axis=(-2, -1))
    area = jnp.sum(target & pixel_weight, axis=(-2, -1), dtype=jnp.int32)
    return 1.0 - (2.0 * overlap + smoothing) / (jnp.sum(probability, axis=(-2, -1)) + area + smoothing)
