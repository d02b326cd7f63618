"""An object's slots: its points and one NOT_A_POINT, or its points and a box's corners. One rule for all who prompt."""

import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.prompts import PointLabel, Prompts, box_slots, point_slots
from samjax.predict.promptable.prompt_arrays import photo_prompts

POINTS = np.array([[[3.0, 4.0], [9.0, 2.0]], [[1.0, 7.0], [5.0, 5.0]]], np.float32)
LABELS = np.array([[1, 0], [0, 1]], np.int32)
BOXES = np.array([[1.0, 2.0, 8.0, 9.0], [0.0, 0.0, 4.0, 3.0]], np.float32)


def test_points_are_followed_by_the_slot_that_stands_for_no_box():
    coords, labels = point_slots(jnp.asarray(POINTS), jnp.asarray(LABELS))
    np.testing.assert_array_equal(coords[:, :2], POINTS)
    np.testing.assert_array_equal(coords[:, 2], 0)
    np.testing.assert_array_equal(labels, np.pad(LABELS, ((0, 0), (0, 1)), constant_values=PointLabel.NOT_A_POINT))


def test_a_box_is_its_corners():
    coords, labels = box_slots(jnp.asarray(BOXES))
    np.testing.assert_array_equal(coords, [[[1, 2], [8, 9]], [[0, 0], [4, 3]]])
    np.testing.assert_array_equal(labels, [[PointLabel.BOX_MIN, PointLabel.BOX_MAX]] * 2)


@pytest.mark.parametrize("kind", ["points", "boxes"])
def test_a_users_arrays_become_the_slots_that_training_gives(kind):
    """At a photo of the frame's own size, where no place is scaled."""
    arrays = {"points": None, "labels": None, "boxes": None, "mask_logits": None}
    arrays |= {"points": POINTS, "labels": LABELS} if kind == "points" else {"boxes": BOXES}
    given = photo_prompts(**arrays, photo=(10, 10), fitted=(10, 10), logits_size=(4, 4))
    slots = point_slots(jnp.asarray(POINTS), jnp.asarray(LABELS)) if kind == "points" else box_slots(jnp.asarray(BOXES))
    np.testing.assert_array_equal(given.coords, slots[0])
    np.testing.assert_array_equal(given.labels, slots[1])
    assert given.valid.all()


def test_prompts_without_masks_hold_full_slots_until_they_are_padded():
    coords, labels = box_slots(jnp.asarray(BOXES)[None])
    prompts = Prompts.without_masks(coords=coords, labels=labels, logits_size=(6, 5))
    assert prompts.valid.all()
    assert prompts.mask_logits.shape == (1, 2, 6, 5)
    assert not prompts.has_mask.any()
    padded = prompts.pad_to(4)
    np.testing.assert_array_equal(padded.valid[0, 0], [True, True, False, False])
    with pytest.raises(ValueError, match="cannot pad"):
        padded.pad_to(3)
