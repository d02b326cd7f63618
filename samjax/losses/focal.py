"""Focal loss of a mask."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32


def focal_loss(
    logits: Float[Array, "*n h w"],
    target: Bool[Array, "*#n h w"],
    pixel_weight: Bool[Array, "*#n h w"],
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
) -> Float32[Array, "*n"]:
    """Return the mean over pixels of alpha_t (1 - p_t)^gamma (-log p_t), for each mask (Lin et al., 2017).

    p_t is the probability given to the truth; alpha weighs foreground, 1 - alpha background. Pixels with False
    `pixel_weight` are ignored, in the sum and in the divisor. In float32, stable for
    logits of any size.
    """
    margin = jnp.where(target, 1.0, -1.0) * logits.astype(jnp.float32)  # the logit of p_t
    cross_entropy = jax.nn.softplus(-margin)
    # (1 - p_t)^gamma by its logarithm: a power would have no gradient where 1 - p_t underflows and gamma < 1.
    difficulty = jnp.exp(-gamma * jax.nn.softplus(margin))
    loss = jnp.where(target, alpha, 1.0 - alpha) * difficulty * cross_entropy
    pixels = jnp.sum(pixel_weight, axis=(-2, -1), dtype=jnp.int32)
    return jnp.sum(jnp.where(pixel_weight, loss, 0.0), axis=(-2, -1)) / jnp.maximum(pixels, 1)
