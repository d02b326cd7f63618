"""The masks of a batch in groups: each group plays all its rounds and takes its gradient before the next begins.

Once a photo is encoded its masks know nothing of each other, and the loss is a sum over masks. So a loop over groups
of masks holds the activations of one group at a time, which stay in a chip's on-chip memory or a core's cache, and adds
up gradients; the photos' part of it goes back through the encoder once. Loss and gradient are those of all masks at
once but for the order of sums.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int

from samjax.core.sizes import largest_divisor
from samjax.core.struct import struct
from samjax.parallel.sharding import LeadingAxes, per_shard, shards

T = TypeVar("T")

# The loss of some masks and what is kept of them: `play(parts, embedding, photos, slots)`, where the arrays of `photos`
# begin with p photos, those of `slots` and of what it returns beside the loss with p photos and g masks.
Play = Callable[[Any, Float[Array, "p *shape"], Any, Any], tuple[Float32[Array, ""], Any]]


@struct
class Gradients:
    """The gradient of the batch's loss."""

    parts: Any
    embedding: Float32[Array, "b *shape"]


def with_gradients(value: Float32[Array, ""], variables: T, gradients: T) -> Float32[Array, ""]:
    """Return `value`; its derivative with respect to `variables` is `gradients`, however either was computed."""
    return _with_gradients(jax.lax.stop_gradient(value), variables, gradients)


@jax.custom_vjp
def _with_gradients(value, variables, gradients):
    return value


def _forward(value, variables, gradients):
    return value, jax.tree.map(lambda gradient, variable: gradient.astype(variable.dtype), gradients, variables)


def _backward(gradients, cotangent):
    return None, jax.tree.map(lambda gradient: (cotangent * gradient).astype(gradient.dtype), gradients), None


_with_gradients.defvjp(_forward, _backward)


def play_in_groups(
    play: Play,
    parts: Any,
    embedding: Float[Array, "b *shape"],
    photos: Any,
    slots: Any,
    *,
    valid: Bool[Array, "b m"],
    at_once: int,
) -> tuple[Any, Gradients]:
    """Play the masks of a batch, `at_once` of them at a time on each device, and add up the gradients of their losses.

    A group is a part of one photo's masks, or the masks of several whole photos where they are few. Slots are padded to
    whole groups. A group without a valid mask is skipped: what it would observe is zero. Devices that share a photo
    deal out its slots, valid ones first, so that each gets as many.

    Args:
      play: see `Play`.
      parts: what is differentiated beside the embedding, the same for all photos.
      embedding: of the batch's photos.
      photos: arrays [b, ...] that `play` is handed for its photos.
      slots: arrays [b, m, ...] that `play` is handed for its masks.
      valid: the slots that hold a mask.
      at_once: masks decoded together on a device.

    Returns:
      What `play` observed of every mask, [b, m, ...], and the gradients of the summed losses. No derivative flows
      through either.
    """
    masks, sharing = valid.shape[1], shards("mask")
    group = min(at_once, -(-masks // sharing))
    slots, valid = jax.tree.map(lambda x: _deal(x, sharing, multiple=group), (slots, valid))
    parts, embedding = jax.lax.stop_gradient((parts, embedding))

    def on_device(parts: Any, embedding: Any, photos: Any, slots: Any, valid: Bool[Array, "b n"]) -> tuple:
        observed, gradients = _loop(play, parts, embedding, photos, slots, valid=valid, at_once=at_once, group=group)
        return observed, jax.tree.map(lambda x: x[None], gradients.parts), gradients.embedding[:, None]

    observed, of_parts, of_embedding = per_shard(
        on_device,
        (parts, embedding, photos, slots, valid),
        axes=((), ("batch",), ("batch",), ("batch", "mask"), ("batch", "mask")),
        results=(LeadingAxes(("batch", "mask")), LeadingAxes(("device",)), LeadingAxes(("batch", "mask"))),
    )
    return (
        jax.tree.map(lambda x: _collect(x, sharing)[:, :masks], observed),
        Gradients(parts=jax.tree.map(lambda x: jnp.sum(x, axis=0), of_parts), embedding=jnp.sum(of_embedding, axis=1)),
    )


def _loop(
    play: Play,
    parts: Any,
    embedding: Any,
    photos: Any,
    slots: Any,
    *,
    valid: Bool[Array, "b n"],
    at_once: int,
    group: int,
) -> tuple[Any, Gradients]:
    """Play this device's masks, `group` of a photo at a time."""
    all_photos, all_masks = valid.shape
    together = largest_divisor(all_photos, at_once // group) if group == all_masks else 1
    of_photo = all_masks // group
    gradient = jax.value_and_grad(play, argnums=(0, 1), has_aux=True)

    def play_group(sums: Gradients, index: Int[Array, ""]) -> tuple[Gradients, Any]:
        first_photo, first_mask = index // of_photo * together, index % of_photo * group

        def of_photos(x: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(x, first_photo, together, axis=0)

        def of_masks(x: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(of_photos(x), first_mask, group, axis=1)

        arrays = (of_photos(embedding), jax.tree.map(of_photos, photos), jax.tree.map(of_masks, slots))

        def run() -> tuple[Gradients, Any]:
            (_, observed), (of_parts, of_embedding) = gradient(parts, *arrays)
            summed = of_photos(sums.embedding) + of_embedding
            return Gradients(
                parts=jax.tree.map(jnp.add, sums.parts, of_parts),
                embedding=jax.lax.dynamic_update_slice_in_dim(sums.embedding, summed, first_photo, axis=0),
            ), observed

        def skip() -> tuple[Gradients, Any]:
            _, observed = jax.eval_shape(play, parts, *arrays)
            return sums, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), observed)

        return jax.lax.cond(jnp.any(of_masks(valid)), run, skip)

    zeros = Gradients(parts=jax.tree.map(jnp.zeros_like, parts), embedding=jnp.zeros(embedding.shape, jnp.float32))
    groups = all_photos // together * of_photo
    sums, observed = jax.lax.scan(play_group, zeros, jnp.arange(groups, dtype=jnp.int32))

    def in_order(x: Array) -> Array:
        """Return [groups together group ...] as [photos masks ...]."""
        x = x.reshape(all_photos // together, of_photo, together, group, *x.shape[3:])
        return jnp.swapaxes(x, 1, 2).reshape(all_photos, all_masks, *x.shape[4:])

    return jax.tree.map(in_order, observed), sums


def _deal(x: Array, sharing: int, *, multiple: int) -> Array:
    """Pad the slots to a `multiple` on each device that shares a photo, and deal them out: slot i to device i mod n."""
    each = -(-x.shape[1] // (sharing * multiple)) * multiple
    x = jnp.pad(x, ((0, 0), (0, each * sharing - x.shape[1]), *((0, 0),) * (x.ndim - 2)))
    return jnp.swapaxes(x.reshape(x.shape[0], each, sharing, *x.shape[2:]), 1, 2).reshape(x.shape)


def _collect(x: Array, sharing: int) -> Array:
    """Undo `_deal` but for the padding."""
    return jnp.swapaxes(x.reshape(x.shape[0], sharing, -1, *x.shape[2:]), 1, 2).reshape(x.shape)
