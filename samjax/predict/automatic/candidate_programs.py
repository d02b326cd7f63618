"""The steps of `candidates` compiled over a mesh: each device works on its own crops, and waits for no other."""

from collections.abc import Callable
from functools import partial

import jax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float32, Int32, UInt32

from samjax.parallel.sharding import batch_sharding
from samjax.predict.automatic.candidates import Choice, Filters, Pool, Window, add, choose, draw_choice, empty_pool
from samjax.predict.automatic.tiles import Tiling

_CROPS = PartitionSpec(("data", "fsdp"))


def _on_each(function: Callable, mesh: Mesh) -> Callable:
    return jax.shard_map(function, mesh=mesh, in_specs=_CROPS, out_specs=_CROPS, check_vma=False)


def new_pool(mesh: Mesh, *, crops: int, slots: int, logits_size: tuple[int, int]) -> Pool:
    """See `empty_pool`."""
    return _new_pool(mesh, crops, slots, logits_size)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _new_pool(mesh: Mesh, crops: int, slots: int, logits_size: tuple[int, int]) -> Pool:
    pool = empty_pool(crops=crops, slots=slots, logits_size=logits_size)
    return jax.lax.with_sharding_constraint(pool, batch_sharding(mesh))


@partial(jax.jit, static_argnames="mesh", donate_argnames="pool")
def add_to(
    pool: Pool,
    logits: Float32[Array, "b m k low_h low_w"],
    iou: Float32[Array, "b m k"],
    valid: Bool[Array, "b m"],
    first: Int32[Array, "b"],
    window: Window,
    filters: Filters,
    *,
    mesh: Mesh,
) -> Pool:
    """See `add`; the old pool's memory is the new one's."""
    own, shared = _CROPS, PartitionSpec()
    in_specs = (own, own, own, own, own, own, shared)
    on_each = jax.shard_map(add, mesh=mesh, in_specs=in_specs, out_specs=own, check_vma=False)
    return on_each(pool, logits, iou, valid, first, window, filters)


@partial(jax.jit, static_argnames=("mesh", "threshold"))
def choose_from(pool: Pool, *, mesh: Mesh, threshold: float) -> Choice:
    """See `choose`."""
    return _on_each(partial(choose, threshold=threshold), mesh)(pool)


@partial(jax.jit, static_argnames=("mesh",))
def draw_from(
    logits: Float32[Array, "b c low_h low_w"],
    slot: Int32[Array, "b n"],
    count: Int32[Array, "b"],
    tiling: Tiling,
    *,
    mesh: Mesh,
) -> UInt32[Array, "b n th tw columns"]:
    """See `draw_choice`."""
    return _on_each(draw_choice, mesh)(logits, slot, count, tiling)
