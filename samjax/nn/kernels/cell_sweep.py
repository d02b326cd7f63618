"""One sweep over a mask's image cells: tokens change them, and other tokens attend to the result. For TPUs.

A two-way layer touches every cell of a mask many times: scores, softmax, sum, residual, norm, and the same backwards.
Each is little work for what it moves. These kernels take a block of cells into on-chip memory, do all of it there, and
go on to the next block; the softmax over all cells is a running one (Dao et al. 2022). The backward pass takes the
same blocks, computes them again, and pulls back through them.

Rows are a mask's tokens times its heads, token by token (r = t * e), and have all c channels of a cell: they went
through the projection that `models.sam.image_side` does not apply to the cells. So eight heads of a token fill the
sublanes of a TPU's registers, and a softmax over tokens is arithmetic between registers.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Float32

from samjax.core.sizes import largest_divisor
from samjax.core.struct import struct
from samjax.nn.kernels.cell_products import gather, match, normalise, spread

LANES = 128
SUBLANES = 8
_BLOCK = 512  # cells: what the backward pass keeps of so many fits the 16 MiB that a kernel may use
_NEVER = float(jnp.finfo(jnp.float32).min)

MaskCells = Float[Array, "m i c"]
MaskRows = Float[Array, "m r c"]
Positions = Float[Array, "i c"]


@struct
class Change:
    """How tokens change a cell: its attention to them as a residual, then a norm.

    A mask has r rows, of which `keys` are matched with a cell at its position, and `values`, which the output
    projection has seen, are summed with the softmax of that over tokens. The `bias` of a row is added to its products;
    that of a token that no cell may attend to is the least number there is.
    """

    keys: MaskRows
    bias: Float[Array, "m r"]
    values: MaskRows
    out_bias: Float[Array, "c"]
    scale: Float[Array, "c"]
    shift: Float[Array, "c"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """What is fixed when the kernels are compiled: `heads` of a token, the norm's `epsilon`, cells of a `block`."""

    heads: int
    epsilon: float
    block: int
    interpret: bool


def sweep_fits(*, cells: int, channels: int, heads: int) -> bool:
    """Say whether the kernels take so many cells, channels and heads: whole tiles of a TPU's registers."""
    return cells % LANES == 0 and channels % LANES == 0 and heads % SUBLANES == 0


def sweep_cells(
    cells: MaskCells,
    positions: Positions,
    change: Change | None,
    queries: MaskRows,
    *,
    heads: int,
    epsilon: float,
    interpret: bool = False,
) -> tuple[MaskCells, Float32[Array, "m q c"]]:
    """Return the cells after `change`, and the sums of them that `queries` attend to.

    Queries meet cells at their positions and sum them without; their softmax is over all cells of a mask. A `change`
    of None leaves the cells as they are. Positions get no gradient. `interpret` runs the kernels anywhere, slowly.

    Raises:
      ValueError: cells or channels are no multiple of 128, or heads none of 8; see `sweep_fits`.
    """
    _, count, channels = cells.shape
    if not sweep_fits(cells=count, channels=channels, heads=heads):
        raise ValueError(
            f"{count} cells of {channels} channels and {heads} heads: the kernels take cells and channels in multiples "
            f"of {LANES} and heads in multiples of {SUBLANES}"
        )
    block = LANES * largest_divisor(count // LANES, _BLOCK // LANES)
    sweep = Sweep(heads=heads, epsilon=epsilon, block=block, interpret=interpret)
    changed, sums = _sweep(sweep, cells, jax.lax.stop_gradient(positions), change, queries)
    return (cells if change is None else changed), sums


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sweep(sweep, cells, positions, change, queries):
    return _forward(sweep, cells, positions, change, queries)[0]


def _forward(sweep, cells, positions, change, queries):
    (masks, count, channels), rows = cells.shape, queries.shape[1]
    specs = _Specs(sweep, cells)
    changed, sums, log_total = pl.pallas_call(
        functools.partial(_forward_body, sweep),
        grid=(masks, count // sweep.block),
        in_specs=(specs.block, specs.whole(positions), _change_specs(specs, change), specs.mask(queries)),
        out_specs=(
            None if change is None else specs.block,
            specs.mask(queries),
            pl.BlockSpec((1, rows, 1), lambda mask, _: (mask, 0, 0)),
        ),
        out_shape=(
            None if change is None else jax.ShapeDtypeStruct(cells.shape, cells.dtype),
            jax.ShapeDtypeStruct(queries.shape, jnp.float32),
            jax.ShapeDtypeStruct((masks, rows, 1), jnp.float32),
        ),
        scratch_shapes=[pltpu.VMEM((rows, 1), jnp.float32)] * 2,
        compiler_params=_PARAMETERS,
        cost_estimate=specs.cost(change, queries, changing=2, attending=2),
        interpret=sweep.interpret,
    )(cells, positions, _columns(change), queries)
    return (changed, sums), (cells, positions, change, queries, sums, log_total)


def _backward(sweep, kept, d_out):
    cells, positions, change, queries, sums, log_total = kept
    d_changed, d_sums = d_out
    specs, columns = _Specs(sweep, cells), _columns(change)
    d_total = -jnp.sum(d_sums * sums, axis=-1, keepdims=True)  # sums = (sum of weights * cells) / (sum of weights)
    by_mask = jax.tree.map(lambda part: jax.ShapeDtypeStruct((cells.shape[0], *part.shape[1:]), jnp.float32), columns)
    d_cells, d_columns, d_queries = pl.pallas_call(
        functools.partial(_backward_body, sweep),
        grid=(cells.shape[0], cells.shape[1] // sweep.block),
        in_specs=(
            specs.block,
            specs.whole(positions),
            _change_specs(specs, change),
            specs.mask(queries),
            specs.mask(log_total),
            None if change is None else specs.block,
            specs.mask(d_sums),
            specs.mask(d_total),
        ),
        out_specs=(specs.block, jax.tree.map(specs.mask, by_mask), specs.mask(queries)),
        out_shape=(jax.ShapeDtypeStruct(cells.shape, cells.dtype), by_mask, jax.ShapeDtypeStruct(queries.shape, jnp.float32)),
        compiler_params=_PARAMETERS,
        cost_estimate=specs.cost(change, queries, changing=6, attending=5),
        interpret=sweep.interpret,
    )(cells, positions, columns, queries, log_total, d_changed, d_sums, d_total)
    d_change = None
    if change is not None:
        masked = {"keys": d_columns.keys, "bias": d_columns.bias[..., 0], "values": d_columns.values}
        shared = {name: jnp.sum(getattr(d_columns, name), axis=(0, 1)) for name in ("out_bias", "scale", "shift")}
        d_change = jax.tree.map(lambda d, part: d.astype(part.dtype), Change(**masked, **shared), change)
    return d_cells, None, d_change, d_queries.astype(queries.dtype)


_sweep.defvjp(_forward, _backward)


def _changed(sweep, dtype, cells, positions, change):
    scores = match(dtype, change.keys, cells + positions) + change.bias
    tokens = scores.reshape(-1, sweep.heads, sweep.block)
    weights = jax.nn.softmax(tokens, axis=0).reshape(scores.shape)
    residual = spread(dtype, weights, change.values) + change.out_bias
    return normalise(cells + residual, sweep.epsilon) * change.scale + change.shift


def _forward_body(sweep, cells, positions, change, queries, changed, sums, log_total, largest, total):
    step, dtype = pl.program_id(1), cells.dtype

    @pl.when(step == 0)
    def _():
        sums[...] = jnp.zeros_like(sums)
        largest[...] = jnp.full_like(largest, _NEVER)
        total[...] = jnp.zeros_like(total)

    places = _places(sweep, positions, step)
    block = cells[0].astype(jnp.float32)
    if change is not None:
        block = _changed(sweep, dtype, block, places, _values(change))
        changed[0] = block.astype(dtype)
    scores = match(dtype, queries[0], block + places)
    before, largest[...] = largest[...], jnp.maximum(largest[...], jnp.max(scores, axis=1, keepdims=True))
    weights, fade = jnp.exp(scores - largest[...]), jnp.exp(before - largest[...])
    total[...] = fade * total[...] + jnp.sum(weights, axis=1, keepdims=True)
    sums[0] = fade * sums[0] + gather(dtype, weights, block)

    @pl.when(step == pl.num_programs(1) - 1)
    def _():
        sums[0] = sums[0] / total[...]
        log_total[0] = largest[...] + jnp.log(total[...])


def _backward_body(
    sweep,
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
    step, dtype = pl.program_id(1), cells.dtype
    places = _places(sweep, positions, step)

    def forward(block, change, queries):
        if change is not None:
            block = _changed(sweep, dtype, block, places, change)
        weights = jnp.exp(match(dtype, queries, block + places) - log_total[0])
        sums, total = gather(dtype, weights, block), jnp.sum(weights, axis=1, keepdims=True)
        return (None if change is None else block), sums, total

    inputs = (cells[0], _values(change), queries[0])
    _, pull = jax.vjp(forward, *jax.tree.map(lambda part: part.astype(jnp.float32), inputs))
    d_block = None if d_changed is None else d_changed[0].astype(jnp.float32)
    gradients = pull((d_block, d_sums[0], d_total[0]))
    d_cells[0] = gradients[0].astype(dtype)

    @pl.when(step == 0)
    def _():
        for ref in jax.tree.leaves((d_change, d_queries)):
            ref[...] = jnp.zeros_like(ref)

    for ref, gradient in zip(jax.tree.leaves((d_change, d_queries)), jax.tree.leaves(gradients[1:]), strict=True):
        ref[0] += gradient


def _places(sweep, positions, step):
    start = pl.multiple_of(step * sweep.block, sweep.block)
    return positions[pl.ds(start, sweep.block)].astype(jnp.float32)


def _values(change):
    """Read the rows of a mask and the vectors of all."""
    return jax.tree.map(lambda ref: ref[0].astype(jnp.float32), change)


def _columns(change: Change | None) -> Change | None:
    """Return `change` with every part of three axes: masks, or one; rows, or one; channels, or one."""
    if change is None:
        return None
    shared = {name: getattr(change, name)[None, None] for name in ("out_bias", "scale", "shift")}
    return dataclasses.replace(change, bias=change.bias[..., None], **shared)


_PARAMETERS = pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary"))


def _change_specs(specs, change):
    return jax.tree.map(specs.mask, _columns(change))


class _Specs:
    """Which part of each array a step of the grid (masks, blocks of cells) sees."""

    def __init__(self, sweep: Sweep, cells: MaskCells):
        self.cells = cells
        self.block = pl.BlockSpec((1, sweep.block, cells.shape[-1]), lambda mask, block: (mask, block, 0))

    def mask(self, array: Array) -> pl.BlockSpec:
        """What is a mask's, or the same for all."""
        own = array.shape[0] > 1
        return pl.BlockSpec((1, *array.shape[1:]), lambda mask, _: (mask if own else 0, 0, 0))

    def whole(self, array: Array) -> pl.BlockSpec:
        """What stays in on-chip memory."""
        return pl.BlockSpec(array.shape, lambda *_: (0,) * array.ndim)

    def cost(self, change: Change | None, queries: MaskRows, *, changing: int, attending: int) -> pl.CostEstimate:
        """Return what the compiler cannot see, of so many products of rows and cells for either part."""
        masks, count, channels = self.cells.shape
        changers = 0 if change is None else change.keys.shape[1]
        pairs = masks * count * (changing * changers + attending * queries.shape[1])
        size = self.cells.dtype.itemsize
        return pl.CostEstimate(
            flops=2 * pairs * channels,
            transcendentals=masks * count * (changers + queries.shape[1]),
            bytes_accessed=size * self.cells.size * (2 if change is None else 3),
        )
