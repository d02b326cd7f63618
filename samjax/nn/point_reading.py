"""Maps read at points between their pixels, bilinear and zero outside, as PyTorch's `grid_sample` does it.

Two exact forms. `read_by_gather` reads four neighbours of each point at once, for CPUs and GPUs. `read_by_tents` has no
gather and no scatter: a point's weights are the product of a row's and a column's tent, and maps are read by matrix
products, for TPUs, where gathers take a thousand times the memory.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Int32

from samjax.parallel.sharding import platform

QUERIES_AT_ONCE = 256
"""Of which `read_by_tents` has the weights in memory, for one map."""

Values = tuple[Float[Array, "b _ _ heads c"], ...]


def read_points(
    values: Values, points: Float[Array, "b q heads levels n 2"], weights: Float[Array, "b q heads levels n"]
) -> Float[Array, "b q heads c"]:
    """Return the weighted sum of what is at points of several maps, in the platform's form.

    Args:
      values: the maps, each head's channels apart.
      points: (x, y) in pixels of the map, whose centres are at whole numbers.
      weights: of each point.
    """
    return (read_by_tents if platform() == "tpu" else read_by_gather)(values, points, weights)


def sample_points(maps: Float[Array, "b h w c"], points: Float[Array, "b p 2"]) -> Float32[Array, "b p c"]:
    """Return what is at points, (x, y) as shares of the map's sides; at the border it is half of the last pixel."""
    pixels = in_pixels(points, (maps.shape[1], maps.shape[2]))[:, :, None, None, None]
    return read_points((maps[:, :, :, None],), pixels, jnp.ones(pixels.shape[:-1], points.dtype))[:, :, 0]


def in_pixels(points: Float[Array, "*n 2"], size: tuple[int, int]) -> Float[Array, "*n 2"]:
    """Return points, (x, y) as shares of the sides of a map of `size` = (height, width), in its pixels."""
    return points * jnp.array(size[::-1], points.dtype) - 0.5


def read_by_gather(
    values: Values, points: Float[Array, "b q heads levels n 2"], weights: Float[Array, "b q heads levels n"]
) -> Float[Array, "b q heads c"]:
    """Return the weighted sum of what is at the points, (x, y) in pixels, bilinear, zero outside a map."""
    by_level = [
        _read(maps, points[:, :, :, level], weights[:, :, :, level]) for level, maps in enumerate(values)
    ]  # fmt: skip
    return sum(by_level[1:], by_level[0])


def _read(
    maps: Float[Array, "b h w heads c"], points: Float[Array, "b q heads n 2"], weights: Float[Array, "b q heads n"]
) -> Float[Array, "b q heads c"]:
    height, width, channels = maps.shape[1], maps.shape[2], maps.shape[4]
    padded = jnp.pad(jnp.moveaxis(maps, 3, 1), ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    sides = [padded[:, :, row : row + height + 1, column : column + width + 1] for row in (0, 1) for column in (0, 1)]
    packed = jnp.concatenate(sides, axis=-1)
    packed = packed.reshape(*packed.shape[:2], -1, 4 * channels)

    points, weights = jnp.moveaxis(points, 2, 1), jnp.moveaxis(weights, 2, 1)
    column, row, shares = corners(points)
    is_near = (column >= -1) & (column < width) & (row >= -1) & (row < height)
    index = jnp.where(is_near, (row + 1) * (width + 1) + column + 1, 0)
    shares = shares * (weights * is_near)[..., None]

    read = jax.vmap(jax.vmap(lambda rows, index: rows[index]))(packed, index.reshape(*index.shape[:2], -1))
    read = read.reshape(*index.shape[:3], -1, channels)
    of_corners = shares.astype(maps.dtype).reshape(*index.shape[:3], -1)
    return jnp.einsum("beqk,beqkc->bqec", of_corners, read, preferred_element_type=jnp.float32)


def corners(
    points: Float[Array, "*n 2"],
) -> tuple[Int32[Array, "*n"], Int32[Array, "*n"], Float[Array, "*n 4"]]:
    """Return the column and row of the pixel at the top left of each point, (x, y) in pixels, and what share of the
    point each of four pixels has: that one, the one at its right, and the two below."""
    cell = jax.lax.stop_gradient(jnp.floor(points))
    (right, down), (column, row) = jnp.moveaxis(points - cell, -1, 0), jnp.moveaxis(cell.astype(jnp.int32), -1, 0)
    shares = jnp.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], axis=-1)
    return column, row, shares


def read_by_tents(
    values: Values, points: Float[Array, "b q heads levels n 2"], weights: Float[Array, "b q heads levels n"]
) -> Float[Array, "b q heads c"]:
    """Return what `read_by_gather` does."""
    queries = points.shape[1]
    count = -(-queries // QUERIES_AT_ONCE)
    spare = [(0, 0), (0, count * -(-queries // count) - queries)]

    def chunks(array: Array) -> Array:
        padded = jnp.pad(array, spare + [(0, 0)] * (array.ndim - 2))
        return jnp.moveaxis(padded.reshape(padded.shape[0], count, -1, *padded.shape[2:]), 1, 0)

    @jax.checkpoint
    def of_chunk(chunk: tuple[Array, Array]) -> Array:
        points, weights = chunk
        found = jnp.zeros((*points.shape[:3], values[0].shape[-1]), jnp.float32)
        for level, maps in enumerate(values):
            columns = _tents(points[:, :, :, level, :, 0], maps.shape[2])
            rows = _tents(points[:, :, :, level, :, 1], maps.shape[1]) * weights[:, :, :, level, :, None]
            of_pixels = jnp.einsum("bqeny,bqenx->bqeyx", rows, columns).astype(maps.dtype)
            found += jnp.einsum("bqeyx,byxec->bqec", of_pixels, maps, preferred_element_type=jnp.float32)
        return found

    found = jax.lax.map(of_chunk, (chunks(points), chunks(weights)))
    return jnp.moveaxis(found, 0, 1).reshape(points.shape[0], -1, *found.shape[3:])[:, :queries]


def _tents(places: Float[Array, "*n"], side: int) -> Float[Array, "*n side"]:
    """Return each pixel's share of a point: 1 at the pixel, 0 from the next on. The slope at a pixel is the right
    neighbour's, as that of an interpolation between two is."""
    beyond = places[..., None] - jnp.arange(side)
    return jnp.where((beyond >= 0) & (beyond < 1), 1 - beyond, jnp.where((beyond >= -1) & (beyond < 0), 1 + beyond, 0))
