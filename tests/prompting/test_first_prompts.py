import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.framed_photos import four_rows, masks_of, prompts_of

from samjax.core.prompts import PointLabel


@pytest.fixture(scope="module")
def batch():
    return four_rows()


def test_points_lie_on_their_masks(batch):
    prompts, masks = prompts_of(batch, point_probability=1.0), masks_of(batch)
    for b, m in np.argwhere(batch.mask_valid).tolist():
        assert prompts.labels[b, m].tolist() == [PointLabel.FOREGROUND, PointLabel.NOT_A_POINT]
        x, y = np.asarray(prompts.coords[b, m, 0]).astype(int)
        assert masks[b, m, y, x]


def test_boxes_follow_the_annotator_of_the_experiment(batch):
    exact, masks = prompts_of(batch, point_probability=0.0, box_noise_std=0.0), masks_of(batch)
    noisy = prompts_of(batch, point_probability=0.0, box_noise_std=0.5, box_noise_max=3.0)
    moves = []
    for b, m in np.argwhere(batch.mask_valid).tolist():
        assert exact.labels[b, m].tolist() == [PointLabel.BOX_MIN, PointLabel.BOX_MAX]
        rows, columns = np.nonzero(masks[b, m].any(axis=1))[0], np.nonzero(masks[b, m].any(axis=0))[0]
        box = [[columns[0], rows[0]], [columns[-1], rows[-1]]]
        np.testing.assert_array_equal(exact.coords[b, m], box)
        moves.append(np.abs(np.asarray(noisy.coords[b, m]) - box).max())
    assert 1 < max(moves) <= 3


def test_photos_do_not_share_their_draws(batch):
    """Photo b's key is its own, and so is another seed's."""
    same = dataclasses.replace(
        batch,
        **{
            name: jnp.repeat(getattr(batch, name)[:1], 4, axis=0)
            for name in ("image", "valid_size", "masks", "mask_valid")
        },
    )
    first, again, other = prompts_of(same), prompts_of(same), prompts_of(same, seed=1)
    np.testing.assert_array_equal(first.coords, again.coords)
    assert not np.array_equal(first.coords[0], first.coords[1])
    assert not np.array_equal(first.coords, other.coords)
