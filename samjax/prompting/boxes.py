"""Boxes of masks, with noise that imitates a human's precision."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key


def mask_box(mask: Bool[Array, "*n h w"]) -> Float[Array, "*n 4"]:
    """Return the tight box (x0, y0, x1, y1) of each mask, in pixel indices with inclusive maxima; zeros if empty."""
    x0, x1 = _extent(jnp.any(mask, axis=-2))
    y0, y1 = _extent(jnp.any(mask, axis=-1))
    return jnp.stack([x0, y0, x1, y1], axis=-1).astype(jnp.float32)


def noisy_box(
    keys: Key[Array, "b m"],
    box: Float[Array, "b m 4"],
    valid_size: Int[Array, "b 2"],
    *,
    std: float = 0.1,
    limit: float = 20.0,
) -> Float[Array, "b m 4"]:
    """Add Gaussian noise to each coordinate of each box (Segment Anything, appendix A).

    Args:
      keys: source of each box's noise.
      box: (x0, y0, x1, y1) in pixels.
      valid_size: (height, width) of each photo; the corners stay on its pixels.
      std: standard deviation as a share of the box's side along that coordinate.
      limit: the largest move, in pixels.

    Returns:
      Boxes with x0 <= x1 and y0 <= y1.
    """
    low, high = box[..., :2], box[..., 2:]
    scale = std * jnp.concatenate([high - low, high - low], axis=-1)
    noise = jax.vmap(jax.vmap(lambda key: jax.random.normal(key, (4,))))(keys)
    moved = box + jnp.clip(scale * noise, -limit, limit)
    last_pixel = (valid_size[:, None, ::-1] - 1).astype(jnp.float32)
    moved = jnp.clip(moved, 0.0, jnp.concatenate([last_pixel, last_pixel], axis=-1))
    low, high = moved[..., :2], moved[..., 2:]
    return jnp.concatenate([jnp.minimum(low, high), jnp.maximum(low, high)], axis=-1)


def _extent(occupied: Bool[Array, "*n size"]) -> tuple[Int[Array, "*n"], Int[Array, "*n"]]:
    """Return the first and the last occupied index; zeros if there is none."""
    first = jnp.argmax(occupied, axis=-1)
    last = occupied.shape[-1] - 1 - jnp.argmax(occupied[..., ::-1], axis=-1)
    return first, jnp.where(jnp.any(occupied, axis=-1), last, 0)
