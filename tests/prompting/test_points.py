"""Sampling is exact and uniform, whatever the region."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from samjax.prompting.points import pixel_at, sample_point


def draw(region, draws, seed=0):
    """Return `draws` (x, y) points of one region, as integers."""
    keys = jax.random.split(jax.random.key(seed), draws)
    points = jax.jit(jax.vmap(sample_point, in_axes=(0, None)))(keys, jnp.asarray(region))
    assert bool(points.exists.all())
    return np.asarray(points.coords).astype(int)


@pytest.mark.parametrize("density", [0.05, 0.5, 0.95])
def test_every_pixel_of_a_region_is_equally_likely(density):
    """A rank off by one, a row or a column rule off by one, all leave the region or starve one of its pixels."""
    region = np.random.default_rng(1).random((13, 17)) < density
    x, y = draw(region, 40_000).T
    counts = np.zeros(region.shape, int)
    np.add.at(counts, (y, x), 1)
    assert counts[~region].sum() == 0
    assert chisquare(counts[region]).pvalue > 1e-3


def test_an_image_of_a_million_pixels_is_covered_evenly():
    x, y = draw(np.ones((1024, 1024), bool), 8192).T
    blocks = np.bincount((y // 128) * 8 + x // 128, minlength=64)
    assert chisquare(blocks).pvalue > 1e-3
    assert chisquare(np.bincount(x % 8, minlength=8)).pvalue > 1e-3
    assert chisquare(np.bincount(y % 8, minlength=8)).pvalue > 1e-3


@pytest.mark.parametrize(("x", "y"), [(0, 0), (6, 0), (0, 4), (6, 4), (3, 2)])
def test_a_single_pixel_is_always_found(x, y):
    region = np.zeros((5, 7), bool)
    region[y, x] = True
    assert (draw(region, 32) == [x, y]).all()


def test_an_empty_region_says_so_and_leaves_its_neighbours_alone():
    region = jnp.zeros((2, 3, 5, 7), bool).at[1, 2, 4, 6].set(True)
    point = jax.jit(sample_point)(jax.random.split(jax.random.key(0), (2, 3)), region)
    assert point.exists.tolist() == [[False, False, False], [False, False, True]]
    assert (point.coords[~point.exists] == 0).all()
    assert point.coords[1, 2].tolist() == [6, 4]


def test_regions_of_one_call_are_drawn_independently():
    region = jnp.ones((2, 2, 2), bool)
    points = jax.jit(jax.vmap(sample_point, in_axes=(0, None)))(
        jax.random.split(jax.random.key(3), (8000, 2)), region
    ).coords
    pixel = np.asarray(points[..., 0] + 2 * points[..., 1]).astype(int)
    pairs = np.bincount(pixel[:, 0] * 4 + pixel[:, 1], minlength=16)
    assert chisquare(pairs).pvalue > 1e-3


def test_sampling_makes_nothing_larger_than_the_region():
    """No image of random numbers, no cumulative sum over pixels; XLA's CPU backend alone widens the row sum's input."""
    pixels = 4 * 512 * 512
    shape = jax.ShapeDtypeStruct((4, 512, 512), bool)
    compiled = jax.jit(sample_point).lower(jax.random.split(jax.random.key(0), 4), shape).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 1.1 * pixels * 4


def test_pixel_at_reads_the_named_pixel():
    mask = np.random.default_rng(0).random((3, 4, 5)) < 0.5
    coords = np.array([[4, 0], [0, 3], [2, 1]])
    expected = [mask[index, y, x] for index, (x, y) in enumerate(coords)]
    assert pixel_at(jnp.asarray(mask), jnp.asarray(coords, jnp.float32)).tolist() == expected
