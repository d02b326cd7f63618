"""Dropout and drop path: their expectation, their unit, and their absence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.nn.drop_path import draw_paths, drop_path, dropout

KEY = jax.random.key(0)


def dropped(x, rate, key):
    """Drop paths as an encoder does, by a key."""
    return drop_path(x, rate, None if key is None else draw_paths(key, jnp.asarray(rate), len(x)))


def test_drop_path_keeps_or_drops_a_sample_whole():
    branch = jnp.ones((1000, 3, 4))
    out = np.asarray(dropped(branch, 0.4, KEY)).reshape(1000, -1)
    kept = out[:, 0] != 0
    np.testing.assert_array_equal(out, np.where(kept[:, None], np.float32(1 / 0.6), 0) * np.ones((1, 12)))
    assert kept.mean() == pytest.approx(0.6, abs=5 * np.sqrt(0.24 / 1000))


def test_dropout_keeps_or_drops_each_element():
    out = np.asarray(dropout(jnp.ones((100, 100)), 0.1, KEY))
    assert set(np.unique(out)) == {np.float32(0), np.float32(1 / 0.9)}
    assert (out == 0).mean() == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / 10_000))
    assert (out == 0).any(axis=1).mean() > 0  # not by row
    assert not (out == 0).all(axis=1).any()


def test_a_sample_with_a_key_of_its_own_is_dropped_as_if_alone():
    x, keys = jnp.ones((2, 3, 50)), jax.random.split(KEY, (2, 3))
    out = dropout(x, 0.5, keys)
    for place in np.ndindex(2, 3):
        np.testing.assert_array_equal(out[place], dropout(x[place], 0.5, keys[place]))
    assert len({tuple(row.tolist()) for row in np.asarray(out).reshape(6, 50)}) == 6


@pytest.mark.parametrize("noise", [dropout, dropped])
def test_noise_keeps_the_expectation(noise):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8)), jnp.float32)
    draws = jax.vmap(lambda key: noise(x, 0.3, key))(jax.random.split(KEY, 20_000))
    np.testing.assert_allclose(draws.mean(0), x, atol=5 * np.sqrt(0.3 / 0.7 / 20_000) * np.abs(x).max())


@pytest.mark.parametrize("noise", [dropout, dropped])
def test_no_key_or_no_rate_is_no_noise(noise):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 8)), jnp.float32)
    np.testing.assert_array_equal(noise(x, 0.5, None), x)
    np.testing.assert_array_equal(noise(x, 0.0, KEY), x)
    np.testing.assert_array_equal(dropped(x, jnp.zeros(()), KEY), x)  # a rate of the scan, not known when traced


@pytest.mark.parametrize("noise", [dropout, dropped])
def test_noise_keeps_the_dtype(noise):
    assert noise(jnp.ones((2, 3), jnp.bfloat16), 0.5, KEY).dtype == jnp.bfloat16


def test_gradient_is_dropped_and_scaled_with_the_branch():
    gradient = jax.grad(lambda x: dropped(x, 0.5, KEY).sum())(jnp.ones((64, 2)))
    assert set(np.unique(gradient)) == {0.0, 2.0}
