"""Exact uniform sampling of one pixel of a region, without an image of random numbers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from samjax.core.struct import struct


@struct
class RegionPoint:
    """One pixel of each region: `coords` are (x, y) pixel indices, zeros where the region is empty (`exists` False)."""

    coords: Float[Array, "*n 2"]
    exists: Bool[Array, "*n"]


def sample_point(keys: Key[Array, "*n"], region: Bool[Array, "*n h w"]) -> RegionPoint:
    """Draw one of the True pixels of each region, every one with the same probability, each region by its own key.

    A rank below the pixel count is drawn, its row found by the cumulative row counts and its column by the cumulative
    count of that row alone: nothing larger than the region is made.
    """
    row_counts = jnp.sum(region, axis=-1, dtype=jnp.int32)
    counts_to_row = jnp.cumsum(row_counts, axis=-1)
    count = counts_to_row[..., -1]
    draw = jax.vmap(lambda key, most: jax.random.randint(key, (), 0, most))
    rank = draw(keys.reshape(-1), jnp.maximum(count, 1).reshape(-1)).reshape(count.shape)

    found = count > 0
    row = jnp.sum(counts_to_row <= rank[..., None], axis=-1, dtype=jnp.int32)
    row = jnp.where(found, row, 0)
    before = jnp.take_along_axis(counts_to_row - row_counts, row[..., None], axis=-1)
    counts_to_column = jnp.cumsum(_take_row(region, row), axis=-1, dtype=jnp.int32)
    column = jnp.sum(counts_to_column <= rank[..., None] - before, axis=-1, dtype=jnp.int32)
    column = jnp.where(found, column, 0)
    return RegionPoint(coords=jnp.stack([column, row], axis=-1).astype(jnp.float32), exists=found)


def pixel_at(mask: Bool[Array, "*n h w"], coords: Float[Array, "*n 2"]) -> Bool[Array, "*n"]:
    """Return the pixel of each mask at its (x, y) index."""
    column, row = (coords[..., axis].astype(jnp.int32) for axis in range(2))
    return jnp.take_along_axis(_take_row(mask, row), column[..., None], axis=-1)[..., 0]


def _take_row(mask: Bool[Array, "*n h w"], row: Int[Array, "*n"]) -> Bool[Array, "*n w"]:
    return jnp.take_along_axis(mask, row[..., None, None], axis=-2)[..., 0, :]
