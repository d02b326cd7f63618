"""A photo's pixels in tiles, so that of a mask only the tiles that its border crosses are computed.

A pixel of a predicted mask is a weighted mean of nine neighbouring logits, so it lies between the least and the
greatest of those that a tile's pixels are made of. Where both are on one side of every threshold, the tile is decided
without a pixel: of a photo of 1500 x 2250, nine tenths and more.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int, Int32

from samjax.core.struct import struct
from samjax.predict.promptable.restore import axis_taps

TILE = 32
"""Pixels a side; a column of a tile is a word of 32 bits."""

_TILES = 8
"""The tiles along a side are rounded up to a multiple of this, and the logits under a tile to a power of two, so that
photos of many sizes share a few programs."""

_AT_ONCE = 256
"""Tiles computed together: a quarter of a million pixels."""


Level = float | Float32[Array, ""]
"""A threshold on logits."""


@struct
class Axis:
    """One axis of a photo, or of several with a leading axis, in t tiles, each made of r neighbouring logits."""

    size: Int32[Array | np.ndarray, "*b"]
    """Pixels of the photo; those of tiles beyond are not there."""
    first: Int32[Array | np.ndarray, "*b t"]
    """Where the tile's logits begin."""
    weights: Float32[Array | np.ndarray, "*b t pixels r"]

    def lengths(self) -> Int[Array, "t"]:
        """Return the pixels of each tile that are in the photo."""
        return jnp.clip(self.size - TILE * jnp.arange(self.first.shape[0]), 0, TILE)

    def inside(self) -> Bool[Array, "t pixels"]:
        """Return which pixels of each tile are in the photo."""
        return jnp.arange(TILE) < self.lengths()[:, None]

    def under(self) -> Int[Array, "t r"]:
        """Return the logits that each tile is made of."""
        return jnp.asarray(self.first)[:, None] + jnp.arange(self.weights.shape[-1])


@struct
class Tiling:
    """Both axes of a photo, or of several with a leading axis."""

    rows: Axis
    columns: Axis


def tilings(
    sizes: list[tuple[int, int]], *, low: tuple[int, int], frame: tuple[int, int], fitted: list[tuple[int, int]]
) -> Tiling:
    """Return how photos of `sizes` (h, w), each of the size `fitted` in the model's `frame`, are made of `low` logits.

    They have a leading axis of photos, and as many tiles as the largest needs.
    """
    rows, columns = (
        _axis([size[side] for size in sizes], low=low[side], frame=frame[side], fitted=[size[side] for size in fitted])
        for side in range(2)
    )
    return Tiling(rows=rows, columns=columns)


def _axis(sizes: list[int], *, low: int, frame: int, fitted: list[int]) -> Axis:
    tiles = -(-max(sizes) // (TILE * _TILES)) * _TILES
    plans = [
        axis_taps(low=low, frame=frame, fitted=covered, photo=size, pixels=tiles * TILE)
        for size, covered in zip(sizes, fitted, strict=True)
    ]
    spans = []
    for plan, size in zip(plans, sizes, strict=True):
        there = np.arange(tiles * TILE)[:, None] < size
        least = np.where(there, plan.index, low - 1).reshape(tiles, -1).min(axis=1)
        most = np.where(there, plan.index, 0).reshape(tiles, -1).max(axis=1)
        spans.append((least, most))
    reach = min(low, 1 << int(max((most - least).max() for least, most in spans)).bit_length())
    first = np.stack([np.minimum(least, low - reach) for least, _ in spans]).astype(np.int32)
    weights = np.zeros((len(sizes), tiles, TILE, reach), np.float32)
    for plan, begin, size, out in zip(plans, first, sizes, weights, strict=True):
        pixel = np.arange(size)
        for tap in range(3):
            place = plan.index[:size, tap] - begin[pixel // TILE]
            np.add.at(out, (pixel // TILE, pixel % TILE, place), plan.weight[:size, tap])
    return Axis(size=np.array(sizes, np.int32), first=first, weights=weights)


@struct
class Bounds:
    """What is known of each tile of n masks before a pixel is computed."""

    above: Bool[Array, "n th tw"]
    """Every logit is greater than the threshold."""
    open: Bool[Array, "n th tw"]
    """Pixels may be on both sides; the others are all below its negative."""


def bounds(logits: Float32[Array, "n low_h low_w"], tiling: Tiling, *, threshold: Level) -> Bounds:
    """Return which tiles are decided: all above `threshold`, or all below minus it."""

    def extreme(reduce):
        rows = reduce(logits[:, tiling.rows.under()], axis=2)
        return reduce(rows[:, :, tiling.columns.under()], axis=3)

    least, greatest = extreme(jnp.min), extreme(jnp.max)
    slack = 1e-5 * jnp.maximum(jnp.abs(least), jnp.abs(greatest)) + 1e-30  # more than what rounding can add
    there = (tiling.rows.lengths() > 0)[:, None] & (tiling.columns.lengths() > 0)
    above = there & (least > threshold + slack)
    below = greatest < -threshold - slack
    return Bounds(above=above, open=there & ~above & ~below)


@struct
class TileValues:
    """Some tiles' logits, -inf beyond the photo, and where each tile lies; those not `valid` are not there."""

    logits: Float32[Array, "k pixels pixels"]
    mask: Int[Array, "k"]
    row: Int[Array, "k"]
    column: Int[Array, "k"]
    valid: Bool[Array, "k"]


def over_open_tiles(
    take: Callable[[Any, TileValues], Any],
    carry: Any,
    *,
    logits: Float32[Array, "n low_h low_w"],
    tiling: Tiling,
    open: Bool[Array, "n th tw"],
) -> Any:
    """Return `carry` after `take(carry, values)` has seen the `TileValues` of every tile of `open`, some at a time."""
    shape, total = open.shape, open.size
    at_once = min(_AT_ONCE, total)
    count = open.sum()
    places = jnp.nonzero(open.ravel(), size=total, fill_value=0)[0]
    places = jnp.pad(places, (0, at_once))
    rows, columns = tiling.rows, tiling.columns
    height, width = rows.weights.shape[-1], columns.weights.shape[-1]

    def turn(state):
        start, carry = state
        place = jax.lax.dynamic_slice(places, (start,), (at_once,))
        mask, row, column = jnp.unravel_index(place, shape)
        patch = jax.vmap(
            lambda m, y, x: jax.lax.dynamic_slice(logits, (m, rows.first[y], columns.first[x]), (1, height, width))[0]
        )(mask, row, column)
        values = jnp.einsum(
            "kyr,krs,kxs->kyx", rows.weights[row], patch, columns.weights[column], precision=jax.lax.Precision.HIGHEST
        )
        there = rows.inside()[row][:, :, None] & columns.inside()[column][:, None, :]
        valid = start + jnp.arange(at_once) < count
        tiles = TileValues(
            logits=jnp.where(there & valid[:, None, None], values, -jnp.inf),
            mask=mask,
            row=row,
            column=column,
            valid=valid,
        )
        return start + at_once, take(carry, tiles)

    return jax.lax.while_loop(lambda state: state[0] < count, turn, (jnp.zeros((), count.dtype), carry))[1]
