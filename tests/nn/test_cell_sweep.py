"""The kernels that sweep over a mask's cells give what the definition gives, gradients too, block by block."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import normal

from samjax.nn.kernels import cell_sweep
from samjax.nn.kernels.cell_block import interpreted_bits
from samjax.nn.kernels.cell_sweep import Change, sweep_cells

MASKS, CELLS, CHANNELS, TOKENS, HEADS = 2, 256, 128, 3, 8
ROWS, BLOCK, RATE, EPSILON = TOKENS * HEADS, 128, 0.3, 1e-5
SEEDS = jnp.array([[1, 2], [3, 2**31 - 2]], jnp.int32)


@pytest.fixture(autouse=True)
def two_blocks(monkeypatch):
    monkeypatch.setattr(cell_sweep, "_BLOCK", BLOCK)


def inputs(scale=0.1):
    valid = jnp.array([[True, True, True], [True, False, True]])
    bias = jnp.where(jnp.repeat(valid, HEADS, axis=1), normal(MASKS, ROWS), jnp.finfo(jnp.float32).min)
    change = Change(
        keys=scale * normal(MASKS, ROWS, CHANNELS, seed=1),
        bias=bias,
        values=normal(MASKS, ROWS, CHANNELS, seed=2),
        out_bias=normal(CHANNELS, seed=3),
        scale=1 + 0.1 * normal(CHANNELS, seed=4),
        shift=normal(CHANNELS, seed=5),
    )
    queries = 2 * scale * normal(MASKS, ROWS, CHANNELS, seed=6)
    return normal(MASKS, CELLS, CHANNELS, seed=7), change, queries


POSITIONS = normal(CELLS, CHANNELS, seed=8)


def definition(cells, change, queries, kept=None):
    with jax.default_matmul_precision("highest"):
        if change is not None:
            scores = jnp.einsum("mrc,mic->mri", change.keys, cells + POSITIONS) + change.bias[..., None]
            weights = jax.nn.softmax(scores.reshape(MASKS, TOKENS, HEADS, CELLS), axis=1).reshape(scores.shape)
            residual = jnp.einsum("mri,mrc->mic", weights, change.values) + change.out_bias
            cells = cells + (residual if kept is None else jnp.where(kept, residual / (1 - RATE), 0))
            mean, variance = jnp.mean(cells, axis=-1, keepdims=True), jnp.var(cells, axis=-1, keepdims=True)
            cells = (cells - mean) / jnp.sqrt(variance + EPSILON) * change.scale + change.shift
        weights = jax.nn.softmax(jnp.einsum("mrc,mic->mri", queries, cells + POSITIONS), axis=-1)
        return cells, jnp.einsum("mri,mic->mrc", weights, cells)


def sweep(cells, change, queries, **options):
    return sweep_cells(
        cells, POSITIONS, change, queries, heads=HEADS, epsilon=EPSILON, rate=RATE, interpret=True, **options
    )


@functools.partial(jax.jit, static_argnums=0)
def outcome(function, arguments):
    """Return the results and the gradient of each argument, under random weights of the results."""
    results, pull = jax.vjp(function, *arguments)
    return results, pull((normal(MASKS, CELLS, CHANNELS, seed=9), normal(MASKS, ROWS, CHANNELS, seed=10)))


def assert_equal(found, expected):
    """Both are float32 sums of a few hundred terms, in another order."""
    parts = jax.tree_util.tree_leaves_with_path(expected)
    for (path, value), part in zip(parts, jax.tree.leaves(found), strict=True):
        error = jnp.linalg.norm(part - value) / jnp.linalg.norm(value)
        assert error < 5e-6, (jax.tree_util.keystr(path), float(error))


def test_attending_alone_is_the_definition():
    cells, _, queries = inputs()
    assert_equal(outcome(sweep, (cells, None, queries)), outcome(definition, (cells, None, queries)))


def test_changing_is_the_definition_with_dropout_of_what_tokens_add():
    blocks = [
        [interpreted_bits(seed[0], seed[1] + step, (BLOCK, CHANNELS)) for step in range(CELLS // BLOCK)]
        for seed in SEEDS
    ]
    kept = jnp.concatenate(jnp.array(blocks).swapaxes(0, 1), axis=1) >= RATE * 2**32
    assert abs(float(kept.mean()) - (1 - RATE)) < 0.01
    assert not (kept[0] == kept[1]).all()
    found = outcome(functools.partial(sweep, seeds=SEEDS), inputs())
    assert_equal(found, outcome(functools.partial(definition, kept=kept), inputs()))


def test_large_scores_neither_overflow_nor_drown():
    """A softmax without its largest score subtracted overflows at 89; the largest is in the second block for some."""
    arguments = inputs(scale=3.0)
    found, expected = sweep(*arguments), definition(*arguments)
    for part, value in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, value, atol=2e-4)


def test_a_token_that_is_not_valid_changes_nothing():
    cells, change, queries = inputs()
    row = slice(HEADS, 2 * HEADS)
    other = dataclasses.replace(
        change, keys=change.keys.at[1, row].multiply(-3), values=change.values.at[1, row].set(100.0)
    )
    for part, value in zip(sweep(cells, other, queries), sweep(cells, change, queries), strict=True):
        np.testing.assert_array_equal(part, value)


@pytest.mark.parametrize(
    ("cells", "channels", "rows", "heads"),
    [(200, 128, 8, 8), (256, 96, 8, 8), (256, 128, 4, 4), (256, 128, 520, 8)],
    ids=["cells", "channels", "heads", "rows"],
)
def test_what_does_not_fill_a_tile_or_fit_is_refused(cells, channels, rows, heads):
    size = f"{cells} cells of {channels} channels, {rows} rows and {heads} heads"
    with pytest.raises(ValueError, match=f"{size}: the kernels take"):
        sweep_cells(
            jnp.zeros((1, cells, channels)),
            jnp.zeros((cells, channels)),
            None,
            jnp.zeros((1, rows, channels)),
            heads=heads,
            epsilon=EPSILON,
        )


def test_many_positions_come_block_by_block(monkeypatch):
    arguments = inputs()
    resident = sweep(*arguments)
    monkeypatch.setattr(cell_sweep, "_RESIDENT", 0)
    for part, value in zip(sweep(*arguments), resident, strict=True):
        np.testing.assert_array_equal(part, value)
