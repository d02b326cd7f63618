"""Activation, norm, patches and windows, each against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from flax import nnx

from samjax.nn.init import VIT_INIT
from samjax.nn.mlp import Mlp, gelu
from samjax.nn.norm import layer_norm
from samjax.nn.patch import Patchify
from samjax.nn.window import partition, unpartition

FLOAT32, BFLOAT16 = jnp.dtype("float32"), jnp.dtype("bfloat16")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_gelu_is_the_erf_form():
    x = np.linspace(-6, 6, 1001, dtype=np.float32)
    expected = x * 0.5 * (1 + scipy.special.erf(x.astype(np.float64) / np.sqrt(2)))
    np.testing.assert_allclose(gelu(jnp.asarray(x)), expected, atol=1e-6)  # tanh: 4.7e-4


def test_mlp_activates_between_its_layers():
    mlp = Mlp(4, 8, dtype=FLOAT32, rngs=nnx.Rngs(0))
    x = jnp.asarray(normal(3, 4))
    hidden = x @ mlp.up.kernel[...] + mlp.up.bias[...]
    expected = gelu(hidden) @ mlp.down.kernel[...] + mlp.down.bias[...]
    np.testing.assert_allclose(mlp(x), expected, atol=1e-6)


@pytest.mark.parametrize("epsilon", [1e-6, 1e-5])
def test_norm_of_a_quiet_input_shows_its_epsilon(epsilon):
    x = normal(5, 32) * 1e-3
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    norm = layer_norm(32, epsilon=epsilon, dtype=FLOAT32, rngs=nnx.Rngs(0))
    np.testing.assert_allclose(norm(jnp.asarray(x)), (x - mean) / np.sqrt(variance + epsilon), rtol=1e-4, atol=1e-6)


def test_norm_of_an_offset_input_does_not_cancel():
    """E[x^2] - E[x]^2 in float32, flax's default, is noise at an offset of 4,000."""
    x = normal(5, 32).astype(np.float64)
    norm = layer_norm(32, epsilon=1e-6, dtype=FLOAT32, rngs=nnx.Rngs(0))
    x32 = (x + 4000).astype(np.float32)
    expected = (x32 - x32.mean(-1, keepdims=True, dtype=np.float64)) / x32.std(-1, keepdims=True, dtype=np.float64)
    np.testing.assert_allclose(norm(jnp.asarray(x32)), expected, atol=2e-3)


def test_norm_of_bfloat16_has_float32_statistics():
    x = normal(4, 512) + 20
    norm = layer_norm(512, epsilon=1e-6, dtype=BFLOAT16, rngs=nnx.Rngs(0))
    x16 = jnp.asarray(x, jnp.bfloat16)
    exact = np.asarray(x16, np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, keepdims=True)
    assert norm(x16).dtype == jnp.bfloat16
    np.testing.assert_allclose(norm(x16).astype(jnp.float32), exact, rtol=2**-7, atol=2e-3)


@pytest.mark.parametrize("layer", ["gelu", "norm"])
def test_the_backward_pass_keeps_the_input_alone(layer):
    """JAX would keep the normalised input too, and three arrays of GELU's."""
    norm = layer_norm(32, epsilon=1e-6, dtype=FLOAT32, rngs=nnx.Rngs(0))
    x = jnp.asarray(normal(64, 32))
    _, pull = jax.vjp(gelu if layer == "gelu" else norm, x)
    kept = [leaf for leaf in jax.tree.leaves(pull) if leaf.size >= x.size]
    assert len(kept) == 1
    np.testing.assert_array_equal(kept[0], x)


def test_the_backward_pass_of_an_mlp_keeps_hidden_units_once():
    """Before the activation; what follows it would be as much again."""
    mlp = Mlp(32, 128, dtype=FLOAT32, rngs=nnx.Rngs(0))
    x = jnp.asarray(normal(64, 32))
    _, pull = jax.vjp(lambda mlp, x: mlp(x), mlp, x)
    kept = [leaf for leaf in jax.tree.leaves(pull) if leaf.shape == (64, 128)]
    assert len(kept) == 1
    np.testing.assert_allclose(kept[0], x @ mlp.up.kernel[...] + mlp.up.bias[...], atol=1e-6)


@pytest.mark.parametrize(("inputs", "size"), [(3, 16), (1, 2), (4, 2)])
def test_patchify_is_a_strided_convolution(inputs, size):
    patchify = Patchify(inputs, 6, size, init=VIT_INIT, dtype=FLOAT32, rngs=nnx.Rngs(0))
    patchify.bias[...] = jnp.asarray(normal(6))
    image = normal(2, 3 * size, 2 * size, inputs)
    expected = jax.lax.conv_general_dilated(
        image, patchify.kernel[...], (size, size), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(patchify(jnp.asarray(image)), expected + patchify.bias[...], atol=1e-5)


@pytest.mark.parametrize("grid", [(7, 9), (8, 4), (3, 13)], ids=str)
def test_windows_come_apart_and_together(grid):
    """Image by image, row by row."""
    height, width = (-(-side // 4) * 4 for side in grid)
    tokens = jnp.asarray(normal(2, height, width, 3))
    windows = partition(tokens, 4)
    rows, columns = height // 4, width // 4
    for b, i, j in np.ndindex(2, rows, columns):
        expected = tokens[b, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
        np.testing.assert_array_equal(windows[(b * rows + i) * columns + j], expected)
    np.testing.assert_array_equal(unpartition(windows, grid), tokens[:, : grid[0], : grid[1]])
