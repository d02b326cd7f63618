"""Processing of a crop's candidates on device: filters, a pool of those that pass, suppression."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32, UInt32

from samjax.core.struct import struct
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.mask_statistics import draw, measure
from samjax.predict.automatic.nms import suppress
from samjax.predict.automatic.tiles import Tiling
from samjax.predict.promptable.restore import Resize

EDGE = 20
"""Pixels: a box that ends this near to the edge of its crop was cut by it, unless the photo ends there too."""


@struct
class Window:
    """Where crops lie in their photos, in pixels, and how their pixels are made of logits."""

    box: Int32[Array | np.ndarray, "*b 4"]
    photo: Int32[Array | np.ndarray, "*b 4"]
    """The photo's own box, (0, 0, w, h)."""
    tiling: Tiling


@struct
class Filters:
    """What a candidate must be, as arrays: programs are not compiled anew for other settings."""

    iou_above: Float32[Array | np.ndarray, ""]
    stability_from: Float32[Array | np.ndarray, ""]
    stability_offset: Float32[Array | np.ndarray, ""]
    largest_fraction: Float32[Array | np.ndarray, ""]


def filters_of(config: GeneratorConfig) -> Filters:
    """Return the filters of `config`; a threshold of 0 lets all pass, as a fraction of 1 does."""

    def unless(value: float, off: float, without: float) -> np.ndarray:
        return np.array(without if value == off else value, np.float32)

    return Filters(
        iou_above=unless(config.pred_iou_threshold, 0.0, -np.inf),
        stability_from=unless(config.stability_threshold, 0.0, -np.inf),
        stability_offset=np.array(config.stability_offset, np.float32),
        largest_fraction=unless(config.max_area_fraction, 1.0, np.inf),
    )


@struct
class Pool:
    """The candidates of each of b crops that passed the filters, in the order of their points, in c slots.

    `count` may exceed the slots: then some candidates were lost. Boxes are in pixels of the crop, the last ones
    included; `source` is the point's number times the masks a point, plus the mask's. `highest` is of all candidates:
    the predicted IoU, and the stability of those that the first filter let pass; -inf where there was none.
    """

    logits: Float32[Array, "b c low_h low_w"]
    iou: Float32[Array, "b c"]
    stability: Float32[Array, "b c"]
    box: Int32[Array, "b c 4"]
    area: Int32[Array, "b c"]
    source: Int32[Array, "b c"]
    count: Int32[Array, "b"]
    highest: Float32[Array, "b 2"]


def empty_pool(*, crops: int, slots: int, logits_size: tuple[int, int]) -> Pool:
    """Return a pool without a candidate."""
    return Pool(
        logits=jnp.zeros((crops, slots, *logits_size), jnp.float32),
        iou=jnp.zeros((crops, slots), jnp.float32),
        stability=jnp.zeros((crops, slots), jnp.float32),
        box=jnp.zeros((crops, slots, 4), jnp.int32),
        area=jnp.zeros((crops, slots), jnp.int32),
        source=jnp.zeros((crops, slots), jnp.int32),
        count=jnp.zeros(crops, jnp.int32),
        highest=jnp.full((crops, 2), -jnp.inf),
    )


@struct
class Screening:
    """Which of n candidates passed the filters, and what the pool keeps of them."""

    keep: Bool[Array, "*b n"]
    stability: Float32[Array, "*b n"]
    box: Int32[Array, "*b n 4"]
    area: Int32[Array, "*b n"]
    highest: Float32[Array, "*b 2"]
    """See `Pool`."""


def screen(
    logits: Float32[Array, "n low_h low_w"],
    iou: Float32[Array, "n"],
    valid: Bool[Array, "n"],
    window: Window,
    filters: Filters,
) -> Screening:
    """Apply the filters to a crop's candidates; masks are measured only if their predicted IoU is enough.

    A mask without a pixel passes none: it has no stability.
    """
    highest_iou = jnp.where(valid, iou, -jnp.inf).max()
    valid = valid & (iou > filters.iou_above)
    found = measure(logits, valid, window.tiling, offset=jnp.asarray(filters.stability_offset))
    highest_stability = jnp.where(valid & (found.area > 0), found.stability(), -jnp.inf).max()
    pixels = window.photo[2].astype(jnp.float32) * window.photo[3]
    keep = valid & (found.area > 0) & (found.stability() >= filters.stability_from)
    keep &= (found.area <= filters.largest_fraction * pixels) & ~_cut(found.box, window)
    highest = jnp.stack([highest_iou, highest_stability])
    return Screening(keep=keep, stability=found.stability(), box=found.box, area=found.area, highest=highest)


def _cut(box: Int32[Array, "n 4"], window: Window) -> Bool[Array, "n"]:
    """Return which boxes end near an edge of the crop that is not one of the photo."""
    in_photo = box + jnp.tile(window.box[:2], 2)
    near_crop = jnp.abs(in_photo - window.box) <= EDGE
    near_photo = jnp.abs(in_photo - window.photo) <= EDGE
    return (near_crop & ~near_photo).any(axis=1)


def add(
    pool: Pool,
    logits: Float32[Array, "b m k low_h low_w"],
    iou: Float32[Array, "b m k"],
    valid: Bool[Array, "b m"],
    first: Int32[Array, "b"],
    window: Window,
    filters: Filters,
) -> Pool:
    """Return the pool with those candidates of m points a crop that pass; `first` is the number of the first point."""
    crops, points, per_point = iou.shape
    candidates = points * per_point
    logits, iou = logits.reshape(crops, candidates, *logits.shape[3:]), iou.reshape(crops, candidates)
    valid = jnp.repeat(valid, per_point, axis=1)
    passed = jax.lax.map(lambda crop: screen(*crop, filters=filters), (logits, iou, valid, window))
    slots = pool.iou.shape[1]
    number = jnp.cumsum(passed.keep, axis=1, dtype=jnp.int32) - 1 + pool.count[:, None]
    place = jnp.where(passed.keep, number, slots)

    def put(kept: Array, new: Array) -> Array:
        return jax.vmap(lambda kept, new, place: kept.at[place].set(new, mode="drop"))(kept, new, place)

    count = pool.count + passed.keep.sum(axis=1, dtype=jnp.int32)
    order = jnp.argsort(~passed.keep, axis=1, stable=True)

    def copy(crop: Array, kept: Array) -> Array:
        """Copy a crop's logits one by one, into the pool as it is: it is large."""
        begin, end = pool.count[crop], jnp.minimum(count[crop], slots)

        def one(slot: Array, kept: Array) -> Array:
            mask = logits[crop, order[crop, slot - begin]]
            return jax.lax.dynamic_update_slice(kept, mask[None, None], (crop, slot, 0, 0))

        return jax.lax.fori_loop(begin, end, one, kept)

    return Pool(
        logits=jax.lax.fori_loop(0, crops, copy, pool.logits),
        iou=put(pool.iou, iou),
        stability=put(pool.stability, passed.stability),
        box=put(pool.box, passed.box),
        area=put(pool.area, passed.area),
        source=put(pool.source, first[:, None] * per_point + jnp.arange(candidates, dtype=jnp.int32)),
        count=count,
        highest=jnp.maximum(pool.highest, passed.highest),
    )


@struct
class Choice:
    """The candidates of each of b crops that suppression left: the first `count` of these, by descending IoU.

    `slot` is their place in the pool, which `candidates` of them filled. `highest` is the pool's.
    """

    slot: Int32[Array, "*b c"]
    count: Int32[Array, "*b"]
    candidates: Int32[Array, "*b"]
    iou: Float32[Array, "*b c"]
    stability: Float32[Array, "*b c"]
    box: Int32[Array, "*b c 4"]
    area: Int32[Array, "*b c"]
    source: Int32[Array, "*b c"]
    highest: Float32[Array, "*b 2"]


def choose(pool: Pool, *, threshold: float) -> Choice:
    """Suppress, of two candidates of a crop whose boxes' IoU is above `threshold`, the one with the lower IoU."""

    def of_crop(pool: Any) -> Choice:
        iou, stability, box, area, source, count, highest = pool
        there = jnp.arange(len(iou)) < count
        kept = suppress(box.astype(jnp.float32), iou, there, threshold=threshold)
        order = kept.order
        return Choice(
            slot=order,
            count=kept.count,
            candidates=count,
            iou=iou[order],
            stability=stability[order],
            box=box[order],
            area=area[order],
            source=source[order],
            highest=highest,
        )

    parts = (pool.iou, pool.stability, pool.box, pool.area, pool.source, pool.count, pool.highest)
    return jax.lax.map(of_crop, parts)


@struct
class ChosenLogits:
    """The logits of the candidates of b photos that suppression left: the first `count` of `slot`, by descending IoU.

    `size` is each photo's (h, w), and `resize` brings logits there.
    """

    logits: Float32[Array, "b c low_h low_w"]
    slot: Int32[Array, "b c"]
    count: Int32[Array, "b"]
    size: Int32[Array, "b 2"]
    resize: Resize


def draw_choice(
    logits: Float32[Array, "b c low_h low_w"], slot: Int32[Array, "b n"], count: Int32[Array, "b"], tiling: Tiling
) -> UInt32[Array, "b n th tw columns"]:
    """Draw the first `count` masks of `slot` at their crops' resolution, see `mask_statistics.draw`."""

    def of_crop(crop: Any) -> UInt32[Array, "n th tw columns"]:
        logits, slot, count, tiling = crop
        return draw(logits[slot], jnp.arange(len(slot)) < count, tiling)

    return jax.lax.map(of_crop, (logits, slot, count, tiling))
