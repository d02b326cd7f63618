"""Non-maximum suppression of boxes: greedy, exact, on device."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int, Int32

from samjax.core.sizes import power_of_two
from samjax.core.struct import struct


@struct
class KeptBoxes:
    """The boxes that stay: the first `count` of `order`, indices by descending score, equal scores by their place."""

    order: Int32[Array, "n"]
    count: Int32[Array, ""]


def suppress(
    boxes: Float32[Array, "n 4"], scores: Float32[Array, "n"], valid: Bool[Array, "n"], *, threshold: float
) -> KeptBoxes:
    """Keep the box with the highest score, drop those that overlap it by an IoU above `threshold`, and so on.

    Each step compares one kept box with all others, so NMS takes one step per kept box and needs no table of all pairs.
    A box without an area overlaps nothing. Boxes are (x0, y0, x1, y1); those not `valid` are ignored.
    """
    limit = highest_below(threshold)
    order = jnp.argsort(jnp.where(valid, -scores, jnp.inf), stable=True)
    boxes = boxes[order]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])

    def overlap(index: Int[Array, ""]) -> Float32[Array, "n"]:
        corner = jnp.maximum(boxes[index, :2], boxes[:, :2])
        sides = jnp.maximum(jnp.minimum(boxes[index, 2:], boxes[:, 2:]) - corner, 0)
        shared = sides[:, 0] * sides[:, 1]
        union = areas[index] + areas - shared
        return jnp.where(union > 0, shared / jnp.where(union > 0, union, 1), 0)

    def keep_next(state):
        open_, kept = state
        index = jnp.argmax(open_)
        return open_ & ~(overlap(index) > limit).at[index].set(True), kept.at[index].set(True)

    start = (valid[order], jnp.zeros(valid.shape, bool))
    _, kept = jax.lax.while_loop(lambda state: state[0].any(), keep_next, start)
    return KeptBoxes(order=order[jnp.argsort(~kept, stable=True)].astype(jnp.int32), count=kept.sum(dtype=jnp.int32))


def highest_below(threshold: float) -> np.float32:
    """Return the largest float32 up to `threshold`: to be above the one is to be above the other."""
    near = np.float32(threshold)
    return near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf))


_suppress = jax.jit(suppress, static_argnames="threshold")


def kept_boxes(
    boxes: Float32[np.ndarray, "n 4"], scores: Float32[np.ndarray, "n"], *, threshold: float
) -> Int32[np.ndarray, "kept"]:
    """Return which boxes stay, as `suppress` orders them, of any number of them on the host."""
    count = len(scores)
    slots = power_of_two(count)
    padded = np.pad(boxes, ((0, slots - count), (0, 0))), np.pad(scores, (0, slots - count)), np.arange(slots) < count
    kept = jax.device_get(_suppress(*padded, threshold=threshold))
    return kept.order[: kept.count]
