"""The most interior pixel of a region, by an exact Euclidean distance transform on device."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from samjax.core.struct import struct


@struct
class RegionCenter:
    """The pixel farthest from the outside of each region.

    `coords` are its (x, y) indices, the first in row order on a tie, zeros where the region is empty;
    `squared_distance`, in pixels squared, is 0 exactly there.
    """

    coords: Float[Array, "*n 2"]
    squared_distance: Int[Array, "*n"]


def region_center(region: Bool[Array, "*n h w"]) -> RegionCenter:
    """Return the maximum of each region's distance transform, where an evaluation click goes."""
    *lead, height, width = region.shape
    distance = squared_distance(region).reshape(*lead, height * width)
    index = jnp.argmax(distance, axis=-1)
    coords = jnp.stack([index % width, index // width], axis=-1).astype(jnp.float32)
    return RegionCenter(coords=coords, squared_distance=jnp.max(distance, axis=-1))


def squared_distance(region: Bool[Array, "*n h w"]) -> Int[Array, "*n h w"]:
    """Return each pixel's squared distance to the nearest pixel outside its region; 0 outside.

    What lies beyond the frame is outside. Exact in integers. The distance along columns comes from two running
    maxima; then rows take the minimum over shifts d of d^2 + (column distance)^2 at the shifted pixel, one shift at a
    time, so memory stays at a few images. A shift cannot help beyond the nearer of a pixel's two axis distances, which
    bounds their number by the radius of the fattest region rather than by the width.
    """
    along_columns = _distance_along(region, region.ndim - 2)
    along_rows = _distance_along(region, region.ndim - 1)
    nearest = jnp.minimum(along_columns, along_rows)
    squared = along_columns**2

    # Rotating instead of shifting is exact: what wraps around has travelled past the frame's edge, and the distance to
    # that edge is in `nearest` already.
    def shift(step, state):
        best, left, right = state
        left, right = jnp.roll(left, 1, axis=-1), jnp.roll(right, -1, axis=-1)
        return jnp.minimum(best, step * step + jnp.minimum(left, right)), left, right

    best, _, _ = jax.lax.fori_loop(1, jnp.max(nearest, initial=0) + 1, shift, (nearest**2, squared, squared))
    return best


def _distance_along(region: Bool[Array, "*n h w"], axis: int) -> Int[Array, "*n h w"]:
    """Return the distance to the nearest outside pixel along one axis, the frame's edge included."""
    size = region.shape[axis]
    position = jax.lax.broadcasted_iota(jnp.int32, region.shape, axis)
    before = jax.lax.cummax(jnp.where(region, -1, position), axis=axis)
    after = jax.lax.cummin(jnp.where(region, size, position), axis=axis, reverse=True)
    return jnp.minimum(position - before, after - position)
