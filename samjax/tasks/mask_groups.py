"""The masks of a batch in groups: each group plays all its rounds and takes its gradient before the next begins.

Once a photo is encoded its masks know nothing of each other, and the loss is a sum over masks. So a loop over groups
of masks holds the activations of one group at a time, which stay in a chip's on-chip memory or a core's cache, and adds
up gradients; the photos' part of it goes back through the encoder once. Loss and gradient are those of all masks at
once but for the order of sums.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int, Shaped

from samjax.core.sizes import largest_divisor
from samjax.core.struct import struct
from samjax.parallel.sharding import LeadingAxes, per_shard, shards

# The loss of some masks and what is kept of them: `play(parts, embedding, photos, slots)`, where the arrays of `photos`
# begin with p photos, those of `slots` and of what it returns beside the loss with p photos and g masks.
Play = Callable[[Any, Float[Array, "p *shape"], Any, Any], tuple[Float32[Array, ""], Any]]
_PlayWith = Callable[..., tuple[Float32[Array, ""], Any]]  # `Play`, of the parts that learn and of the others


@struct
class _Gradients:
    """The gradient of some masks' loss: of the learnt parts, a list, and of the embedding, None if it is not learnt."""

    parts: list[Any]
    embedding: Any


def play_in_groups(
    play: Play,
    parts: Any,
    embedding: Float[Array, "b *shape"],
    photos: Any,
    slots: Any,
    *,
    valid: Bool[Array, "b m"],
    at_once: int,
    divisor: Shaped[Array, ""],
) -> tuple[Any, Float32[Array, ""]]:
    """Play the masks of a batch, `at_once` of them at a time on each device, and add up the gradients of their losses.

    A group is a part of one photo's masks, or the masks of several whole photos where they are few. Slots are padded to
    whole groups. A group without a valid mask is skipped: what it would observe is zero. Devices that share a photo
    deal out its slots, valid ones first, so that each gets as many.

    Only those arrays of `parts` and `embedding` that the caller differentiates get a gradient: a frozen parameter costs
    none, and without `jax.grad` there is none at all.

    Args:
      play: see `Play`.
      parts: what is differentiated beside the embedding, the same for all photos.
      embedding: of the batch's photos.
      photos: arrays [b, ...] that `play` is handed for its photos.
      slots: arrays [b, m, ...] that `play` is handed for its masks.
      valid: the slots that hold a mask.
      at_once: masks decoded together on a device.
      divisor: what the summed losses are divided by.

    Returns:
      What `play` observed of every mask, [b, m, ...], without a derivative; and a zero to add to the loss, whose
      derivative is that of the summed losses over `divisor`.
    """
    leaves, structure = jax.tree.flatten(parts)
    zero = jnp.zeros((), jnp.float32)

    @jax.custom_vjp
    def run(leaves: list[Any], embedding: Any, photos: Any, slots: Any, valid: Any, divisor: Any) -> tuple[Any, Array]:
        return sweep([False] * len(leaves), False, leaves, embedding, photos, slots, valid)[0], zero

    def forward(*primals: Any) -> tuple[tuple[Any, Array], Any]:
        learns = [primal.perturbed for primal in primals[0]]
        *arguments, divisor = jax.tree.map(lambda primal: primal.value, primals)
        observed, gradients = sweep(learns, primals[1].perturbed, *arguments)
        scaled = jax.tree.map(lambda gradient: gradient / divisor, (gradients.parts, gradients.embedding))
        of_parts = iter(scaled[0])
        by_leaf = [next(of_parts) if learnt else None for learnt in learns]
        return (observed, zero), jax.tree.map(
            lambda gradient, variable: None if gradient is None else gradient.astype(variable.dtype),
            (by_leaf, scaled[1]),
            tuple(arguments[:2]),
            is_leaf=lambda x: x is None,
        )

    def backward(gradients: Any, cotangents: tuple[Any, Any]) -> tuple:
        if isinstance(cotangents[1], jax.custom_derivatives.SymbolicZero):
            return (None,) * 6
        scaled = jax.tree.map(lambda gradient: (cotangents[1] * gradient).astype(gradient.dtype), gradients)
        return (*scaled, None, None, None, None)

    def sweep(learns: list[bool], learns_embedding: bool, leaves: list[Any], *arguments: Any) -> tuple[Any, _Gradients]:
        """Return what was observed, and the gradients of what learns."""

        def play_with(learnt: list[Any], fixed: list[Any], *arrays: Any) -> tuple[Float32[Array, ""], Any]:
            first, second = iter(learnt), iter(fixed)
            joined = [next(first) if learnt else next(second) for learnt in learns]
            return play(jax.tree.unflatten(structure, joined), *arrays)

        learnt, fixed = (
            [leaf for leaf, one in zip(leaves, learns, strict=True) if one is kind] for kind in (True, False)
        )
        return _sweep(play_with, learnt, fixed, *arguments, learns_embedding=learns_embedding, at_once=at_once)

    run.defvjp(forward, backward, symbolic_zeros=True)
    return run(leaves, embedding, photos, slots, valid, divisor)


def _sweep(
    play: _PlayWith,
    learnt: list[Any],
    fixed: list[Any],
    embedding: Any,
    photos: Any,
    slots: Any,
    valid: Bool[Array, "b m"],
    *,
    learns_embedding: bool,
    at_once: int,
) -> tuple[Any, _Gradients]:
    """Play all masks, split over the devices."""
    masks, sharing = valid.shape[1], shards("mask")
    group = min(at_once, -(-masks // sharing))
    slots, valid = jax.tree.map(lambda x: _deal(x, sharing, multiple=group), (slots, valid))

    def on_device(learnt: Any, fixed: Any, embedding: Any, photos: Any, slots: Any, valid: Bool[Array, "b n"]) -> tuple:
        observed, gradients = _loop(
            play,
            learnt,
            fixed,
            embedding,
            photos,
            slots,
            valid=valid,
            learns_embedding=learns_embedding,
            at_once=at_once,
            group=group,
        )
        return (
            observed,
            jax.tree.map(lambda x: x[None], gradients.parts),
            jax.tree.map(lambda x: x[:, None], gradients.embedding),
        )

    observed, of_parts, of_embedding = per_shard(
        on_device,
        (learnt, fixed, embedding, photos, slots, valid),
        axes=((), (), ("batch",), ("batch",), ("batch", "mask"), ("batch", "mask")),
        results=(LeadingAxes(("batch", "mask")), LeadingAxes(("device",)), LeadingAxes(("batch", "mask"))),
    )
    return (
        jax.tree.map(lambda x: _collect(x, sharing)[:, :masks], observed),
        _Gradients(
            parts=jax.tree.map(lambda x: jnp.sum(x, axis=0), of_parts),
            embedding=jax.tree.map(lambda x: jnp.sum(x, axis=1), of_embedding),
        ),
    )


def _loop(
    play: _PlayWith,
    learnt: list[Any],
    fixed: list[Any],
    embedding: Any,
    photos: Any,
    slots: Any,
    *,
    valid: Bool[Array, "b n"],
    learns_embedding: bool,
    at_once: int,
    group: int,
) -> tuple[Any, _Gradients]:
    """Play this device's masks, `group` of a photo at a time."""
    all_photos, all_masks = valid.shape
    together = largest_divisor(all_photos, at_once // group) if group == all_masks else 1
    of_photo = all_masks // group

    def loss_of(variables: tuple[list[Any], Any], embedding: Any, photos: Any, slots: Any):
        return play(variables[0], fixed, embedding if variables[1] is None else variables[1], photos, slots)

    def gradient(embedding: Any, photos: Any, slots: Any) -> tuple[tuple[list[Any], Any], Any]:
        variables = (learnt, embedding if learns_embedding else None)
        if not jax.tree.leaves(variables):
            return variables, loss_of(variables, embedding, photos, slots)[1]
        return jax.grad(loss_of, has_aux=True)(variables, embedding, photos, slots)

    def play_group(sums: _Gradients, index: Int[Array, ""]) -> tuple[_Gradients, Any]:
        first_photo, first_mask = index // of_photo * together, index % of_photo * group

        def of_photos(x: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(x, first_photo, together, axis=0)

        def of_masks(x: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(of_photos(x), first_mask, group, axis=1)

        def add_photos(total: Array, more: Array) -> Array:
            return jax.lax.dynamic_update_slice_in_dim(total, of_photos(total) + more, first_photo, axis=0)

        arrays = (of_photos(embedding), jax.tree.map(of_photos, photos), jax.tree.map(of_masks, slots))

        def run() -> tuple[_Gradients, Any]:
            (of_parts, of_embedding), observed = gradient(*arrays)
            return _Gradients(
                parts=jax.tree.map(jnp.add, sums.parts, of_parts),
                embedding=jax.tree.map(add_photos, sums.embedding, of_embedding),
            ), observed

        def skip() -> tuple[_Gradients, Any]:
            _, observed = jax.eval_shape(play, learnt, fixed, *arrays)
            return sums, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), observed)

        return jax.lax.cond(jnp.any(of_masks(valid)), run, skip)

    zeros = _Gradients(
        parts=jax.tree.map(jnp.zeros_like, learnt),
        embedding=jnp.zeros(embedding.shape, jnp.float32) if learns_embedding else None,
    )
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
