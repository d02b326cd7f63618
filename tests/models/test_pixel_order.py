"""Pixels of cells in rows: both ways to get there are the same, exactly."""

import jax
import jax.numpy as jnp
import numpy as np

from samjax.models.sam.pixel_order import _by_product, _by_transpose

GRID = (3, 5)


def test_a_pixel_lands_at_the_place_that_its_bits_say():
    h, w, y, x, v, u = np.meshgrid(*map(np.arange, (*GRID, 2, 2, 2, 2)), indexing="ij")
    rows = (4 * h + 2 * y + v) * 1000 + 4 * w + 2 * x + u
    cells = jnp.asarray(rows.reshape(1, 1, 1, -1, 2, 2, 2, 2), jnp.float32)
    expected = np.arange(12)[:, None] * 1000 + np.arange(20)
    np.testing.assert_array_equal(_by_transpose(cells, GRID)[0, 0, 0], expected)
    np.testing.assert_array_equal(_by_product(cells, GRID)[0, 0, 0], expected)


def test_the_product_and_its_gradient_are_the_transpose_s_bit_for_bit():
    draw = np.random.default_rng(0)
    cells = jnp.asarray(draw.normal(size=(2, 3, 2, 15, 2, 2, 2, 2)) * 10.0 ** draw.integers(-8, 8), jnp.float32)
    toward = jnp.asarray(draw.normal(size=(2, 3, 2, 12, 20)), jnp.float32)
    (ours, pull), (plain, pull_plain) = (
        jax.vjp(lambda cells, form=form: form(cells, GRID), cells) for form in (_by_product, _by_transpose)
    )
    np.testing.assert_array_equal(ours, plain)
    np.testing.assert_array_equal(pull(toward)[0], pull_plain(toward)[0])
