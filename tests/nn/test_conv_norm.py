"""A convolution with its batch norm; and several modules of one shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arrays import normal
from flax import nnx

from samjax.core.random import Rows
from samjax.nn.batch_norm import BatchNorm
from samjax.nn.conv_norm import ConvNorm
from samjax.nn.stack import several

FLOAT32 = jnp.dtype("float32")


def make(*sizes, **options) -> ConvNorm:
    return ConvNorm(*sizes, dtype=FLOAT32, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize(
    ("kernel", "options", "sides"),
    [(3, {}, (5, 6)), (3, {"stride": 2}, (3, 3)), (1, {}, (5, 6)), (3, {"groups": 4, "stride": 2}, (3, 3))],
)
def test_it_is_a_convolution_then_a_norm_then_an_activation(kernel, options, sides):
    module, x = make(4, 8, kernel, use_bias=True, activation=jax.nn.relu, **options), normal(2, 5, 6, 4)
    module.conv.bias[...] = jnp.asarray(normal(8))
    weights = module.conv.kernel[...].reshape(kernel, kernel, -1, 8)
    convolved = jax.lax.conv_general_dilated(
        x,
        weights,
        (options.get("stride", 1),) * 2,
        [(kernel // 2, kernel // 2)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=options.get("groups", 1),
    )
    expected = jax.nn.relu(module.norm(convolved + module.conv.bias[...], training=True))
    found = module(jnp.asarray(x), training=True)
    assert found.shape == (2, *sides, 8)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_pointwise_one_is_a_linear_layer():
    """XLA multiplies matrices faster than it convolves; and adapters and optimisers know it as a matrix."""
    assert isinstance(make(4, 8, 1).conv, nnx.Linear)
    assert isinstance(make(4, 8, 1, stride=2).conv, nnx.Conv)


def test_statistics_are_remembered_in_training_alone():
    module, x = make(4, 8, 3), jnp.asarray(normal(2, 5, 6, 4))
    module(x, training=False)
    assert not module.norm.mean[...].any()
    module(x, training=True)
    assert module.norm.mean[...].all()


@pytest.mark.parametrize("groups", [1, 64])
def test_initial_weights_keep_the_gradients_variance(groups):
    """He et al.'s: 2 over the outputs that an input meets, nine times each."""
    kernel = make(64, 64, 3, groups=groups).conv.kernel[...]
    np.testing.assert_allclose(kernel.var(), 2 * groups / (9 * 64), rtol=0.2)


def test_several_modules_differ_and_are_traced_once():
    traced = []

    def one(rngs):
        traced.append(None)
        return ConvNorm(4, 4, 1, dtype=FLOAT32, rngs=rngs)

    first, second, third = several(one, 3, rngs=nnx.Rngs(0))
    assert len(traced) == 1
    kernels = [np.asarray(module.conv.kernel[...]) for module in (first, second, third)]
    assert not np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[1], kernels[2])
    first(jnp.asarray(normal(2, 3, 3, 4)), training=True)
    assert first.norm.mean[...].any()
    assert not second.norm.mean[...].any(), "each has statistics of its own"


def test_rows_without_a_sample_count_for_nothing_in_a_batch_norm():
    """Neither in what is normalised nor in what is remembered; values so quiet that the epsilon shows."""
    x = 3e-3 * jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 4)), jnp.float32)
    norm, alone = (BatchNorm(4, dtype=FLOAT32, rngs=nnx.Rngs(0)) for _ in range(2))
    found = norm(x.at[2].set(7.0), training=Rows.every(jnp.array([True, True, False])))[:2]
    own = np.asarray(x[:2], np.float64)
    expected = (own - own.mean((0, 1))) / np.sqrt(own.var((0, 1)) + 1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    alone(x[:2], training=True)
    np.testing.assert_allclose(norm.mean[...], alone.mean[...], rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(norm.variance[...], alone.variance[...], rtol=1e-5)
