"""The distance transform is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from samjax.prompting.center import region_center, squared_distance


def reference(region):
    """Return scipy's transform of one region, the frame's outside counted as outside."""
    return distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]


def regions(shape):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    blobs = [
        (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        for y, x, radius in zip(
            rng.integers(0, shape[0], 6), rng.integers(0, shape[1], 6), rng.integers(2, 40, 6), strict=True
        )
    ]
    speckles = [rng.random(shape) < density for density in (0.02, 0.5, 0.9, 0.99, 0.999)]
    return np.stack([*blobs, *speckles, np.zeros(shape, bool), np.ones(shape, bool)])


@pytest.mark.parametrize("shape", [(31, 77), (90, 20), (1, 9), (9, 1), (1, 1)])
def test_distance_equals_scipy_exactly(shape):
    region = regions(shape)
    expected = np.stack([reference(one) for one in region])
    transform = jax.jit(squared_distance)
    squared = np.asarray(transform(jnp.asarray(region)), np.float64)
    np.testing.assert_array_equal(np.sqrt(squared), expected)
    # One region at a time: the number of shifts follows the region at hand.
    for one, distance in zip(region, expected, strict=True):
        squared = np.asarray(transform(jnp.asarray(one)), np.float64)
        np.testing.assert_array_equal(np.sqrt(squared), distance)


def test_the_center_is_the_maximum_of_the_transform():
    region = regions((31, 77))
    center = region_center(jnp.asarray(region))
    for index, one in enumerate(region):
        distance = reference(one)
        y, x = np.unravel_index(np.argmax(distance), distance.shape)
        assert center.coords[index].tolist() == [x, y]
        assert int(center.squared_distance[index]) == round(distance.max() ** 2)
