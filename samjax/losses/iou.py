"""The IoU of a predicted mask, and the loss of the model's own estimate of it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32


def mask_iou(
    logits: Float[Array, "*n h w"], target: Bool[Array, "*#n h w"], pixel_weight: Bool[Array, "*#n h w"]
) -> Float32[Array, "*n"]:
    """Return the IoU of `logits > 0` with the target over the weighted pixels; an empty union counts as one pixel."""
    mask = logits > 0
    overlap = jnp.sum(mask & target & pixel_weight, axis=(-2, -1), dtype=jnp.int32)
    union = jnp.sum((mask | target) & pixel_weight, axis=(-2, -1), dtype=jnp.int32)
    return overlap.astype(jnp.float32) / jnp.maximum(union, 1)


def iou_loss(predicted: Float[Array, "*n"], true: Float[Array, "*n"]) -> Float32[Array, "*n"]:
    """Return the squared error of each predicted IoU; no gradient reaches the true one."""
    return (predicted.astype(jnp.float32) - jax.lax.stop_gradient(true.astype(jnp.float32))) ** 2
