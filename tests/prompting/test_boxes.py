"""Boxes are tight, and their noise bounded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.prompting.boxes import mask_box, noisy_box

MANY = 20_000
VALID_SIZE = jnp.array([[900, 1000]])


def noise(box, **options):
    """Return what was added to many copies of one box: (n, 4)."""
    boxes = jnp.tile(jnp.array(box, jnp.float32), (1, MANY, 1))
    keys = jax.random.split(jax.random.key(0), boxes.shape[:2])
    return np.asarray(noisy_box(keys, boxes, VALID_SIZE, **options) - boxes)[0]


def test_a_mask_box_has_inclusive_maxima():
    masks = jnp.zeros((4, 9, 11), bool)
    masks = masks.at[0, 2:5, 3:8].set(True).at[1, 8, 10].set(True).at[2].set(True)
    assert mask_box(masks).tolist() == [[3, 2, 7, 4], [10, 8, 10, 8], [0, 0, 10, 8], [0, 0, 0, 0]]


def test_noise_is_a_tenth_of_the_side_along_each_axis():
    moved = noise([300, 400, 400, 450])
    np.testing.assert_allclose(moved.std(axis=0), [10, 5, 10, 5], rtol=0.05)
    np.testing.assert_allclose(moved.mean(axis=0), 0, atol=0.3)
    assert np.abs(np.corrcoef(moved.T) - np.eye(4)).max() < 0.03


def test_noise_never_exceeds_twenty_pixels():
    moved = np.abs(noise([100, 100, 900, 800]))
    assert moved.max() <= 20.001
    assert (moved > 19.9).mean() > 0.5, "noise of 80 pixels' deviation is cut, not scaled down"
    assert np.abs(noise([100, 100, 900, 800], limit=5.0)).max() <= 5.001


@pytest.mark.parametrize("std", [0.1, 3.0])
def test_corners_stay_ordered_and_on_the_photo(std):
    boxes = jnp.array([[0, 0, 3, 2], [990, 895, 999, 899], [0, 0, 999, 899], [500, 20, 501, 20]], jnp.float32)
    boxes = jnp.tile(boxes, (1, 1000, 1))
    keys = jax.random.split(jax.random.key(1), boxes.shape[:2])
    x0, y0, x1, y1 = np.moveaxis(np.asarray(noisy_box(keys, boxes, VALID_SIZE, std=std)), -1, 0)
    assert (x0 <= x1).all()
    assert (y0 <= y1).all()
    assert (x0 >= 0).all()
    assert (y0 >= 0).all()
    assert (x1 <= 999).all()
    assert (y1 <= 899).all()
