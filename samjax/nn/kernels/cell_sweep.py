"""One sweep over a mask's image cells: tokens change them, and other tokens attend to the result. For TPUs.

A two-way layer touches every cell of a mask many times: scores, softmax, sum, residual, norm, and the same backwards.
Each is little work for what it moves. These kernels take a block of cells into on-chip memory, do all of it there, and
go on to the next block; the softmax over all cells is a running one (Dao et al. 2022). The backward pass takes the
same blocks, computes them again, and pulls back through them.

Rows are a mask's tokens times its heads, token by token (r = t * e), and have all c channels of a cell: they went
through the projection that `models.sam.image_side` does not apply to the cells. So eight heads of a token fill the
sublanes of a TPU's registers, and a softmax over tokens is arithmetic between registers.
"""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Float32, Int32

from samjax.core.sizes import largest_divisor
from samjax.core.struct import struct
from samjax.nn.kernels.cell_block import Parts, Sweep, backward_body, forward_body

LANES, SUBLANES = 128, 8
_BLOCK = 1024  # cells of a step; of 512 each takes a sixth more cycles on a v5e
_PAIRS = _BLOCK * 128  # a step's rows times cells; in bfloat16 the backward pass of more does not fit a v4's 16 MiB
_ROWS = 512  # of a mask, for the same reason
_RESIDENT = 2**21  # bytes of positions that stay in on-chip memory

MaskCells = Float[Array, "m i c"]
MaskRows = Float[Array, "m r c"]
Positions = Float[Array, "i c"]
Seeds = Int32[Array, "m 2"]


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


def sweep_fits(*, cells: int, channels: int, rows: int, heads: int) -> bool:
    """Say whether the kernels take a mask of this size: whole tiles of a TPU's registers, and no more rows than fit."""
    return cells % LANES == 0 and channels % LANES == 0 and heads % SUBLANES == 0 and rows <= _ROWS


def sweep_cells(
    cells: MaskCells,
    positions: Positions,
    change: Change | None,
    queries: MaskRows,
    *,
    heads: int,
    epsilon: float,
    rate: float = 0.0,
    seeds: Seeds | None = None,
    interpret: bool = False,
) -> tuple[MaskCells, Float32[Array, "m q c"]]:
    """Return the cells after `change`, and the sums of them that `queries` attend to.

    Queries meet cells at their positions and sum them without; their softmax is over all cells of a mask. A `change`
    of None leaves the cells as they are. Positions get no gradient. `seeds` turn on dropout at `rate` of what a change
    adds, a function of a mask's two numbers alone. `interpret` runs the kernels anywhere, slowly, with other draws.

    Raises:
      ValueError: the kernels do not take a mask of this size, see `sweep_fits`.
    """
    _, count, channels = cells.shape
    rows = max(queries.shape[1], 0 if change is None else change.keys.shape[1])
    if not sweep_fits(cells=count, channels=channels, rows=rows, heads=heads):
        raise ValueError(
            f"{count} cells of {channels} channels, {rows} rows and {heads} heads: the kernels take cells and channels "
            f"in multiples of {LANES}, heads in multiples of {SUBLANES}, and at most {_ROWS} rows"
        )
    block = LANES * largest_divisor(count // LANES, min(_BLOCK, _PAIRS // rows) // LANES)
    sweep = Sweep(heads=heads, epsilon=epsilon, rate=rate, block=block, interpret=interpret)
    seeds = None if change is None or rate == 0.0 else seeds
    return _sweep(sweep, cells, jax.lax.stop_gradient(positions), change, queries, seeds)  # type: ignore[misc]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sweep(sweep, cells, positions, change, queries, seeds):
    return _forward(sweep, cells, positions, change, queries, seeds)[0]


def _forward(sweep, cells, positions, change, queries, seeds):
    parts, rows = _parts(change), queries.shape[1]
    by_row = jax.ShapeDtypeStruct((cells.shape[0], rows, 1), jnp.float32)
    changed, sums, log_total = pl.pallas_call(
        functools.partial(forward_body, sweep),
        name="sweep_cells",
        grid=_grid(sweep, cells),
        in_specs=(
            _scalars(seeds),
            _block(sweep, cells),
            _places(sweep, positions),
            _of_masks(parts),
            _of_masks(queries),
        ),
        out_specs=(None if change is None else _block(sweep, cells), _of_masks(queries), _of_masks(by_row)),
        out_shape=(None if change is None else _like(cells), _like(queries, jnp.float32), by_row),
        scratch_shapes=[pltpu.VMEM((rows, 1), jnp.float32)] * 2,
        compiler_params=_PARAMETERS,
        cost_estimate=_cost(cells, change, queries, changing=2, attending=2, passes=1),
        interpret=sweep.interpret,
    )(seeds, cells, positions, parts, queries)
    changed = cells if change is None else changed
    return (changed, sums), (cells, positions, change, queries, seeds, sums, log_total)


def _backward(sweep, kept, d_out):
    cells, positions, change, queries, seeds, sums, log_total = kept
    d_changed, d_sums = d_out
    d_total = -jnp.sum(d_sums * sums, axis=-1, keepdims=True)  # sums = (sum of weights * cells) / (sum of weights)
    parts = _parts(change)
    own = jax.tree.map(lambda part: jax.ShapeDtypeStruct((cells.shape[0], *part.shape[1:]), jnp.float32), parts)
    by_mask = _of_masks((queries, log_total, d_sums, d_total))
    d_cells, d_parts, d_queries = pl.pallas_call(
        functools.partial(backward_body, sweep),
        name="sweep_cells_back",
        grid=_grid(sweep, cells),
        in_specs=(
            *(_scalars(seeds), _block(sweep, cells), _places(sweep, positions), _of_masks(parts)),
            *(*by_mask[:2], _block(sweep, cells), *by_mask[2:]),
        ),
        out_specs=(_block(sweep, cells), _of_masks(own), _of_masks(queries)),
        out_shape=(_like(cells), own, _like(queries, jnp.float32)),
        compiler_params=_PARAMETERS,
        cost_estimate=_cost(cells, change, queries, changing=6, attending=5, passes=2),
        interpret=sweep.interpret,
    )(seeds, cells, positions, parts, queries, log_total, d_changed, d_sums, d_total)
    d_change = None
    if change is not None:
        d_parts["bias"] = d_parts["bias"][..., 0]
        d_parts |= {name: jnp.sum(d_parts[name], axis=(0, 1)) for name in ("out_bias", "scale", "shift")}
        d_change = jax.tree.map(lambda d, part: d.astype(part.dtype), Change(**d_parts), change)
    return d_cells, None, d_change, d_queries.astype(queries.dtype), None


_sweep.defvjp(_forward, _backward)


def _parts(change: Change | None) -> Parts | None:
    if change is None:
        return None
    shared = {name: getattr(change, name)[None, None] for name in ("out_bias", "scale", "shift")}
    return {"keys": change.keys, "bias": change.bias[..., None], "values": change.values, **shared}


# Masks may be split between the two cores of a v4 or v5p; the blocks of a mask follow each other.
_PARAMETERS = pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary"))


def _grid(sweep: Sweep, cells: MaskCells) -> tuple[int, int]:
    return cells.shape[0], cells.shape[1] // sweep.block


def _block(sweep: Sweep, cells: MaskCells) -> pl.BlockSpec:
    return pl.BlockSpec((1, sweep.block, cells.shape[-1]), lambda mask, block: (mask, block, 0))


def _places(sweep: Sweep, positions: Positions) -> pl.BlockSpec:
    """Return the part of a step: all positions, read once, or a block of them where they are many."""
    if positions.size * positions.dtype.itemsize <= _RESIDENT:
        return pl.BlockSpec(positions.shape, lambda *_: (0, 0), pipeline_mode=pl.Buffered(1))
    return pl.BlockSpec((sweep.block, positions.shape[1]), lambda _, block: (block, 0))


def _scalars(array: Array | None) -> pl.BlockSpec | None:
    return None if array is None else pl.BlockSpec(memory_space=pltpu.SMEM)


def _of_masks(arrays):
    """Return the part of a step of each array of `arrays`: a mask's, or what is the same for all."""

    def spec(array) -> pl.BlockSpec:
        own = array.shape[0] > 1
        return pl.BlockSpec((1, *array.shape[1:]), lambda mask, _: (mask if own else 0, 0, 0))

    return jax.tree.map(spec, arrays)


def _like(array: Array, dtype=None) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(array.shape, dtype or array.dtype)


def _cost(cells: MaskCells, change: Change | None, queries: MaskRows, *, changing: int, attending: int, passes: int):
    """Return what the compiler cannot see, given how often each half multiplies, and how often it moves cells."""
    masks, count, channels = cells.shape
    changers, attenders = (0 if change is None else change.keys.shape[1]), queries.shape[1]
    pairs = masks * count * (changing * changers + attending * attenders)
    return pl.CostEstimate(
        flops=2 * pairs * channels,
        transcendentals=masks * count * (changers + attenders),
        bytes_accessed=cells.dtype.itemsize * cells.size * (passes + (change is not None)),
    )
