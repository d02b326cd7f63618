"""Pixels of cells in rows and back: both ways to go are the same, exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.models.sam.pixel_order import (
    product_to_cells,
    product_to_rows,
    transpose_to_cells,
    transpose_to_rows,
)

GRID = (3, 5)
CELLS, ROWS = (15, 2, 2, 2, 2), (12, 20)


@pytest.mark.parametrize("to_rows", [product_to_rows, transpose_to_rows])
def test_a_pixel_lands_at_the_place_that_its_bits_say(to_rows):
    h, w, y, x, v, u = np.meshgrid(*map(np.arange, (*GRID, 2, 2, 2, 2)), indexing="ij")
    places = (4 * h + 2 * y + v) * 1000 + 4 * w + 2 * x + u
    rows = to_rows(jnp.asarray(places.reshape(CELLS), jnp.float32), GRID)
    np.testing.assert_array_equal(rows, np.arange(12)[:, None] * 1000 + np.arange(20))


@pytest.mark.parametrize(
    ("product", "transpose", "given", "made"),
    [(product_to_rows, transpose_to_rows, CELLS, ROWS), (product_to_cells, transpose_to_cells, ROWS, CELLS)],
)
def test_a_product_and_its_gradient_are_the_transposes_bit_for_bit(product, transpose, given, made):
    draw = np.random.default_rng(0)
    pixels = jnp.asarray(draw.normal(size=(2, 3, *given)) * 10.0 ** draw.integers(-8, 8, (2, 3, *given)), jnp.float32)
    toward = jnp.asarray(draw.normal(size=(2, 3, *made)), jnp.float32)
    (ours, pull), (plain, pull_plain) = (
        jax.vjp(lambda x, form=form: form(x, GRID), pixels) for form in (product, transpose)
    )
    np.testing.assert_array_equal(ours, plain)
    np.testing.assert_array_equal(pull(toward)[0], pull_plain(toward)[0])


def test_there_and_back():
    rows = jnp.asarray(np.random.default_rng(0).normal(size=(2, *ROWS)), jnp.float32)
    np.testing.assert_array_equal(product_to_rows(transpose_to_cells(rows, GRID), GRID), rows)
