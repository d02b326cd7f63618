"""Depthwise convolutions by shifted products, as a CPU computes them, against XLA's own convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.nn.depthwise import _by_shifts, _by_xla


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 4)])
def test_shifted_products_are_the_convolution_and_their_gradient_its(size, stride):
    draw = np.random.default_rng(0)
    maps, kernel = (jnp.asarray(draw.normal(size=shape), jnp.float32) for shape in ((2, *size, 3), (3, 3, 1, 3)))

    outputs, pull_back = jax.vjp(jax.jit(lambda *x: _by_shifts(*x, stride)), maps, kernel)
    expected, their_pull_back = jax.vjp(jax.jit(lambda *x: _by_xla(*x, stride)), maps, kernel)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    slope = jnp.asarray(draw.normal(size=outputs.shape), jnp.float32)
    for ours, theirs in zip(pull_back(slope), their_pull_back(slope), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
