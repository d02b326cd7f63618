"""Masks at the photo's resolution, from the decoder's logits: their areas, stability and boxes, and themselves."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int32, UInt32

from samjax.core.struct import struct
from samjax.predict.automatic.tiles import TILE, Level, TileValues, Tiling, bounds, over_open_tiles

_GROUP = 16
"""Masks measured together."""

_FAR = 2**30


@struct
class MaskStatistics:
    """Of n masks: pixels with a logit above 0, and above the threshold and minus it; the box of those above 0.

    A box is (x0, y0, x1, y1), the last pixels inside included, 0 of an empty mask.
    """

    area: Int32[Array, "n"]
    area_high: Int32[Array, "n"]
    area_low: Int32[Array, "n"]
    box: Int32[Array, "n 4"]

    def stability(self) -> Float32[Array, "n"]:
        """Return the IoU of the masks at both thresholds, 0 where both are empty."""
        return self.area_high.astype(jnp.float32) / jnp.maximum(self.area_low, 1).astype(jnp.float32)


def measure(
    logits: Float32[Array, "n low_h low_w"],
    wanted: Bool[Array, "n"],
    tiling: Tiling,
    *,
    offset: Level,
) -> MaskStatistics:
    """Return the statistics of the masks that are `wanted`, zeros for the others, which cost nothing."""
    count = wanted.shape[0]
    group = min(_GROUP, count)
    order = jnp.pad(jnp.argsort(~wanted, stable=True), (0, group), constant_values=count)
    total = wanted.sum()

    def turn(state):
        start, found = state
        chosen = jax.lax.dynamic_slice(order, (start,), (group,))
        there = start + jnp.arange(group) < total
        some = _measure(logits[jnp.minimum(chosen, count - 1)], there, tiling, offset=offset)
        place = jnp.where(there, chosen, count)
        return start + group, jax.tree.map(lambda all_, part: all_.at[place].set(part, mode="drop"), found, some)

    none = jnp.zeros(count, jnp.int32)
    nothing = MaskStatistics(area=none, area_high=none, area_low=none, box=jnp.zeros((count, 4), jnp.int32))
    start = (jnp.zeros((), total.dtype), nothing)
    return jax.lax.while_loop(lambda state: state[0] < total, turn, start)[1]


def _measure(
    logits: Float32[Array, "g low_h low_w"],
    wanted: Bool[Array, "g"],
    tiling: Tiling,
    *,
    offset: Level,
) -> MaskStatistics:
    known = bounds(logits, tiling, threshold=offset)
    full = known.above & wanted[:, None, None]
    height, width = tiling.rows.lengths(), tiling.columns.lengths()
    area = (full * height[:, None] * width).sum(axis=(1, 2), dtype=jnp.int32)
    rows, columns = TILE * jnp.arange(len(height)), TILE * jnp.arange(len(width))
    has_row, has_column = full.any(axis=2), full.any(axis=1)
    # The corners: minima of (x0, y0), and of the last pixels' negatives.
    box = jnp.stack(
        [
            jnp.where(has_column, columns, _FAR).min(axis=1),
            jnp.where(has_row, rows, _FAR).min(axis=1),
            jnp.where(has_column, 1 - columns - width, _FAR).min(axis=1),
            jnp.where(has_row, 1 - rows - height, _FAR).min(axis=1),
        ],
        axis=1,
    ).astype(jnp.int32)

    def take(carry, tiles: TileValues):
        areas, box = carry

        inside = tiles.logits > 0
        y = TILE * tiles.row[:, None] + jnp.arange(TILE)
        x = TILE * tiles.column[:, None] + jnp.arange(TILE)
        in_row, in_column = inside.any(axis=2), inside.any(axis=1)
        corners = [
            jnp.where(has, place, _FAR).min(axis=1)
            for has, place in ((in_column, x), (in_row, y), (in_column, -x), (in_row, -y))
        ]
        levels = (0.0, offset, -offset)
        found = jnp.stack([(tiles.logits > level).sum(axis=(1, 2), dtype=jnp.int32) for level in levels], axis=1)
        return areas.at[tiles.mask].add(found), box.at[tiles.mask].min(jnp.stack(corners, axis=1).astype(jnp.int32))

    areas = jnp.stack([area] * 3, axis=1)
    open_ = known.open & wanted[:, None, None]
    areas, box = over_open_tiles(take, (areas, box), logits=logits, tiling=tiling, open=open_)
    box = jnp.where(areas[:, :1] > 0, box * jnp.array([1, 1, -1, -1]), 0)
    return MaskStatistics(area=areas[:, 0], area_high=areas[:, 1], area_low=areas[:, 2], box=box)


def draw(
    logits: Float32[Array, "n low_h low_w"], wanted: Bool[Array, "n"], tiling: Tiling
) -> UInt32[Array, "n th tw columns"]:
    """Return where logits are above 0: each tile's columns as words of bits, the uppermost pixel the lowest bit."""
    known = bounds(logits, tiling, threshold=0.0)
    bit = jnp.left_shift(jnp.uint32(1), jnp.arange(TILE, dtype=jnp.uint32))
    whole = (tiling.rows.inside() * bit).sum(axis=1, dtype=jnp.uint32)
    words = jnp.where(tiling.columns.inside(), whole[:, None, None], 0)
    words = jnp.where((known.above & wanted[:, None, None])[..., None], words, 0)

    def take(words, tiles: TileValues):
        columns = ((tiles.logits > 0) * bit[:, None]).sum(axis=1, dtype=jnp.uint32)
        mask = jnp.where(tiles.valid, tiles.mask, len(logits))
        return words.at[mask, tiles.row, tiles.column].set(columns, mode="drop")

    open_ = known.open & wanted[:, None, None]
    return over_open_tiles(take, words, logits=logits, tiling=tiling, open=open_)
