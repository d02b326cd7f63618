"""What the kernels of `cell_sweep` compute of one block of a mask's cells, forward and backward.

Arrays here are a mask's own, float32: n cells of a block, r rows. The backward pass is the pull-back of the forward
pass of the same block, so there is one definition of either.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Bool, Float32, Int32, UInt32

from samjax.nn.kernels.cell_products import gather, match, normalise, spread

_NEVER = float(jnp.finfo(jnp.float32).min)

Block = Float32[Array, "n c"]
Parts = dict[str, Any]  # of a `cell_sweep.Change`, each of three axes: masks, or one; rows, or one; channels, or one


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is fixed when the kernels are compiled; a `block` is so many cells, `rate` dropout's."""

    heads: int
    epsilon: float
    rate: float
    block: int
    interpret: bool


def forward_body(sweep: Sweep, seeds, cells, positions, change, queries, changed, sums, log_total, largest, total):
    """Change a block and attend to it: `sums` are of all blocks so far, weighted relative to the `largest` score."""
    step, dtype = pl.program_id(1), cells.dtype

    @pl.when(step == 0)
    def start():
        sums[...] = jnp.zeros_like(sums)
        largest[...] = jnp.full_like(largest, _NEVER)
        total[...] = jnp.zeros_like(total)

    places = _places(sweep, positions, step)
    block = cells[0].astype(jnp.float32)
    if change is not None:
        block = _changed(sweep, dtype, block, places, _of_mask(change), _kept(sweep, seeds, step, block.shape))
        changed[0] = block.astype(dtype)
    scores = match(dtype, queries[0], block + places)
    before, largest[...] = largest[...], jnp.maximum(largest[...], jnp.max(scores, axis=1, keepdims=True))
    weights, fade = jnp.exp(scores - largest[...]), jnp.exp(before - largest[...])
    total[...] = fade * total[...] + jnp.sum(weights, axis=1, keepdims=True)
    sums[0] = fade * sums[0] + gather(dtype, weights, block)

    @pl.when(step == pl.num_programs(1) - 1)
    def finish():
        sums[0] = sums[0] / total[...]
        log_total[0] = largest[...] + jnp.log(total[...])


def backward_body(
    sweep: Sweep,
    seeds,
    cells,
    positions,
    change,
    queries,
    log_total,
    d_changed,
    d_sums,
    d_total,
    d_cells,
    d_change,
    d_queries,
):
    """Compute a block again, and pull back through it. Its share of the gradients of rows is added to those before."""
    step, dtype = pl.program_id(1), cells.dtype
    places, kept = _places(sweep, positions, step), _kept(sweep, seeds, step, cells.shape[1:])

    def forward(block, change, queries):
        if change is not None:
            block = _changed(sweep, dtype, block, places, change, kept)
        weights = jnp.exp(match(dtype, queries, block + places) - log_total[0])
        sums, total = gather(dtype, weights, block), jnp.sum(weights, axis=1, keepdims=True)
        return block, sums, total

    _, pull = jax.vjp(forward, *_of_mask((cells, change, queries)))
    d_inputs = pull((d_changed[0].astype(jnp.float32), d_sums[0], d_total[0]))
    d_cells[0] = d_inputs[0].astype(dtype)
    so_far, own = jax.tree.leaves((d_change, d_queries)), jax.tree.leaves(d_inputs[1:])

    @pl.when(step == 0)
    def start():
        for ref in so_far:
            ref[...] = jnp.zeros_like(ref)

    for ref, gradient in zip(so_far, own, strict=True):
        ref[0] += gradient


def _changed(
    sweep: Sweep, dtype: jnp.dtype, cells: Block, places: Block, change: Parts, kept: Bool[Array, "n c"] | None
) -> Block:
    scores = match(dtype, change["keys"], cells + places) + change["bias"]
    by_token = scores.reshape(-1, sweep.heads, sweep.block)
    weights = jax.nn.softmax(by_token, axis=0).reshape(scores.shape)
    residual = spread(dtype, weights, change["values"]) + change["out_bias"]
    if kept is not None:
        residual = jnp.where(kept, residual / (1 - sweep.rate), 0)
    return normalise(cells + residual, sweep.epsilon) * change["scale"] + change["shift"]


def _kept(sweep: Sweep, seeds, step, shape: tuple[int, ...]) -> Bool[Array, "n c"] | None:
    """Draw what dropout keeps of a block of this mask; None without it."""
    if seeds is None:
        return None
    mask = pl.program_id(0)
    seed = (seeds[mask, 0], seeds[mask, 1] + step)  # the generator takes two numbers
    if sweep.interpret:
        bits = interpreted_bits(*seed, shape)
    else:
        pltpu.prng_seed(*seed)
        bits = pltpu.bitcast(pltpu.prng_random_bits(shape), jnp.uint32)
    return bits >= jnp.uint32(round(sweep.rate * 2**32))


def interpreted_bits(seed0: Int32[Array, ""], seed1: Int32[Array, ""], shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Return random 32-bit numbers for a block where there is no TPU, which has a generator of its own."""
    return jax.random.bits(jax.random.wrap_key_data(jnp.stack([seed0, seed1]).astype(jnp.uint32)), shape)


def _places(sweep: Sweep, positions, step) -> Block:
    if positions.shape[0] > sweep.block:  # all of them are here
        positions = positions.at[pl.ds(pl.multiple_of(step * sweep.block, sweep.block), sweep.block)]
    return positions[...].astype(jnp.float32)


def _of_mask(parts):
    """Read what this step sees of a mask, and of what all masks share."""
    return jax.tree.map(lambda ref: ref[0].astype(jnp.float32), parts)
