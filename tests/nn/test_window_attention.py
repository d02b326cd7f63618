"""Attention within windows of a map, against its definition; and where maps are padded."""

import jax.numpy as jnp
import numpy as np
import pytest
from arrays import normal

from samjax.nn.structure import array_shapes, model_with
from samjax.nn.window import Padding, pad_to_windows, padding_along, partition, unpartition
from samjax.nn.window_attention import WindowAttention, offset_bias

FLOAT32 = jnp.dtype("float32")


@pytest.mark.parametrize(
    ("side", "padding", "expected"),
    [
        (7, Padding.AFTER, (0, 1)),
        (7, Padding.CENTRED, (0, 1)),
        (9, Padding.AFTER, (0, 3)),
        (9, Padding.CENTRED, (1, 2)),
        (6, Padding.CENTRED, (1, 1)),
        (8, Padding.CENTRED, (0, 0)),
    ],
)
def test_padding_fills_whole_windows(side, padding, expected):
    """Of four tokens; half of it before, and an odd one after, where it is centred."""
    assert padding_along(side, 4, padding) == expected


@pytest.mark.parametrize("padding", Padding)
@pytest.mark.parametrize("grid", [(5, 9), (8, 3)], ids=str)
def test_padding_comes_off_again(grid, padding):
    tokens, fill = jnp.asarray(normal(2, *grid, 3)), jnp.asarray(normal(3, seed=1))
    padded = pad_to_windows(tokens, 4, fill=fill, padding=padding)
    np.testing.assert_array_equal(unpartition(partition(padded, 4), grid, padding=padding), tokens)
    assert (padded == fill).all(-1).sum() == 2 * (padded.shape[1] * padded.shape[2] - grid[0] * grid[1])


def test_offsets_are_counted_row_by_row():
    """As an index (dy + s - 1) (2 s - 1) + dx + s - 1 into the flat table, dy and dx from key to query."""
    side, heads = 3, 2
    table = normal(2 * side - 1, 2 * side - 1, heads)
    bias, flat = offset_bias(jnp.asarray(table)), table.reshape(-1, heads)
    for query, key in np.ndindex(side**2, side**2):
        (y, x), (i, j) = divmod(query, side), divmod(key, side)
        index = (y - i + side - 1) * (2 * side - 1) + x - j + side - 1
        np.testing.assert_array_equal(bias[:, query, key], flat[index])


@pytest.mark.parametrize("padding", [Padding.CENTRED, pytest.param(Padding.AFTER, marks=pytest.mark.slow)])
def test_attention_is_of_zero_padded_windows(padding):
    """Every query sees all keys of its window, those of the padding too: zeros before the projection."""
    window, heads, width, grid = 3, 2, 4, (4, 5)

    def make(*, rngs):
        return WindowAttention(width, heads, window=window, padding=padding, dtype=FLOAT32, rngs=rngs)

    arrays = {path: normal(*shape, seed=index) for index, (path, shape) in enumerate(array_shapes(make).items())}
    params = {"offsets": arrays["offsets"]}
    for part in ("qkv", "out"):
        params[part] = {name: arrays[f"{part}/{name}"] for name in ("kernel", "bias")}
    attention = model_with(make, params=params, buffers={})
    tokens = normal(2, *grid, width)
    frame = [padding_along(side, window, padding) for side in grid]
    padded = np.pad(tokens, [(0, 0), *frame, (0, 0)])
    bias = offset_bias(jnp.asarray(arrays["offsets"]))
    expected = np.zeros_like(padded)
    for top, left in np.ndindex(padded.shape[1] // window, padded.shape[2] // window):
        own = np.s_[:, top * window : (top + 1) * window, left * window : (left + 1) * window]
        inside = padded[own].reshape(2, window**2, width)
        qkv = np.einsum("nti,ipec->pnetc", inside, arrays["qkv/kernel"]) + arrays["qkv/bias"][:, None, :, None]
        q, k, v = qkv
        weights = np.exp(np.einsum("netc,nesc->nets", q, k) / np.sqrt(width // heads) + bias)
        mixed = np.einsum("nets,nesc->netc", weights / weights.sum(-1, keepdims=True), v)
        out = np.einsum("netc,eco->nto", mixed, arrays["out/kernel"]) + arrays["out/bias"]
        expected[own] = out.reshape(2, window, window, width)
    (top, _), (left, _) = frame
    expected = expected[:, top : top + grid[0], left : left + grid[1]]
    np.testing.assert_allclose(attention(jnp.asarray(tokens)), expected, rtol=1e-4, atol=1e-5)
