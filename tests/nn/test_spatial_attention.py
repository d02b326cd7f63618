"""Attention with decomposed relative position, over maps and windows, against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import equations, normal, perturbed
from flax import nnx

from samjax.nn.kernels.plain import plain_attention
from samjax.nn.rel_pos import relative_positions, resize_table
from samjax.nn.spatial_attention import SpatialAttention

FLOAT32 = jnp.dtype("float32")


def spatial(grid=(5, 7), window=None) -> SpatialAttention:
    table = grid if window is None else (window, window)
    make = SpatialAttention(12, 3, table_size=table, window=window, dtype=FLOAT32, rngs=nnx.Rngs(0))
    return perturbed(make)


def by_definition(q, k, v, rows, columns):
    """Attend with one loop a query; float64."""
    q, k, v, rows, columns = (np.asarray(x, np.float64) for x in (q, k, v, rows, columns))
    n, height, width, heads, channels = q.shape
    out = np.zeros_like(v)
    for i, y, x, e in np.ndindex(n, height, width, heads):
        query = q[i, y, x, e]
        scores = k[i, :, :, e] @ query / np.sqrt(channels)
        scores += (rows[y] @ query)[:, None] + (columns[x] @ query)[None, :]  # the unscaled query
        weights = np.exp(scores - scores.max())
        out[i, y, x, e] = np.einsum("yx,yxc->c", weights / weights.sum(), v[i, :, :, e])
    return out


def test_relative_position_takes_the_unscaled_query():
    q, k, v = (normal(2, 3, 5, 2, 16, seed=seed) for seed in range(3))
    rows, columns = normal(3, 3, 16, seed=3), normal(5, 5, 16, seed=4)
    expected = by_definition(q, k, v, rows, columns)
    np.testing.assert_allclose(plain_attention(q, k, v, rows, columns), expected, atol=1e-5)


def test_relative_positions_are_query_minus_key():
    table = jnp.arange(9.0)[:, None]
    embedded = relative_positions(table, 5)[..., 0]
    np.testing.assert_array_equal(embedded, np.subtract.outer(np.arange(5), np.arange(5)) + 4)


@pytest.mark.parametrize("length", [5, 13, 27, 63])
def test_tables_are_resized_linearly_without_antialiasing(length):
    """Half-pixel centres, held at the ends: each new row blends the two nearest old ones, however few are new."""
    table = normal(27, 4)
    places = (np.arange(length) + 0.5) * 27 / length - 0.5
    expected = np.stack([np.interp(places, np.arange(27), column) for column in np.asarray(table).T], axis=1)
    np.testing.assert_allclose(resize_table(table, length), expected, atol=1e-5)


def test_a_sequence_is_attended_as_a_map_of_its_tokens():
    """Without relative positions a token's place does not matter, so a map may be flattened."""
    make = SpatialAttention(12, 3, table_size=None, window=None, dtype=FLOAT32, rngs=nnx.Rngs(0))
    attention, tokens = perturbed(make), normal(2, 5, 7, 12)
    expected = attention(tokens)
    np.testing.assert_allclose(attention(tokens.reshape(2, 35, 12)), expected.reshape(2, 35, 12), atol=1e-5)
    np.testing.assert_allclose(attention(tokens[:, ::-1]), expected[:, ::-1], atol=1e-5)


def test_a_map_is_one_window():
    """Global attention is windowed attention in a window as large as the map."""
    tokens = normal(2, 5, 5, 12)
    whole = spatial(grid=(5, 5))
    windowed = spatial(grid=(5, 5), window=5)
    np.testing.assert_allclose(whole(tokens), windowed(tokens), atol=1e-6)


@pytest.mark.parametrize("grid", [(7, 9), (4, 6), (3, 4), (8, 8)], ids=str)
def test_windows_are_padded_with_zero_tokens_that_take_part(grid):
    """Bottom and right, before the projection; a padded key is the projection's bias and gets its share."""
    attention = spatial(grid, window=4)
    height, width = (-(-side // 4) * 4 for side in grid)
    tokens = normal(2, *grid, 12)
    padded = jnp.zeros((2, height, width, 12)).at[:, : grid[0], : grid[1]].set(tokens)
    expected = np.zeros_like(padded)
    alone = spatial((4, 4), window=4)
    for top in range(0, height, 4):
        for left in range(0, width, 4):
            expected[:, top : top + 4, left : left + 4] = alone(padded[:, top : top + 4, left : left + 4])
    np.testing.assert_allclose(attention(tokens), expected[:, : grid[0], : grid[1]], atol=1e-5)


def test_windows_do_not_see_each_other():
    attention, tokens = spatial((8, 8), window=4), normal(1, 8, 8, 12)
    changed = attention(tokens.at[:, :4, :4].add(1.0)) != attention(tokens)
    assert changed[:, :4, :4].all()
    assert not changed[:, 4:].any()
    assert not changed[:, :, 4:].any()


def test_images_do_not_see_each_other():
    attention, tokens = spatial((5, 7)), normal(2, 5, 7, 12)
    after = attention(tokens.at[1].add(1.0))
    np.testing.assert_array_equal(after[0], attention(tokens)[0])


def test_softmax_is_float32_in_bfloat16_models():
    """Scores of bfloat16 tell 1/256 apart; a softmax over them that stays in bfloat16 loses the small weights."""
    q = normal(1, 8, 8, 2, 16).astype(jnp.bfloat16)
    zeros = jnp.zeros((8, 8, 16), jnp.bfloat16)
    jaxpr = jax.make_jaxpr(plain_attention)(q, q, q, zeros, zeros)
    exponentials = [eqn for eqn in equations(jaxpr.jaxpr) if eqn.primitive.name == "exp"]
    assert exponentials
    assert {eqn.outvars[0].aval.dtype for eqn in exponentials} == {jnp.dtype(jnp.float32)}
