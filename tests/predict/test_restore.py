"""Masks at the photo's size, against bilinear resizes in two steps, as PyTorch does them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.bilinear import through_frame

from samjax.data.masks.packing import fitted_size
from samjax.predict.promptable.restore import axis_taps, packed_masks, resize_plan, to_photo

CASES = [
    ((256, 256), (1024, 1024), (1500, 2250)),
    ((256, 256), (1024, 1024), (97, 64)),
    ((256, 256), (1024, 1024), (1, 5000)),
    ((20, 34), (80, 136), (301, 299)),
    ((32, 32), (128, 128), (128, 128)),
    ((32, 32), (128, 128), (1, 1)),
]


def in_two_steps(logits, frame, photo):
    """From the decoder's resolution to the frame, its part with the photo, the photo's size."""
    fitted = fitted_size(height=photo[0], width=photo[1], frame=frame)
    return through_frame(logits, frame=frame, fitted=fitted, photo=photo)


@pytest.mark.parametrize(("low", "frame", "photo"), CASES)
def test_one_step_is_two(low, frame, photo):
    logits = np.random.default_rng(0).normal(0, 5, low).astype(np.float32)
    fitted = fitted_size(height=photo[0], width=photo[1], frame=frame)
    plan = resize_plan(low=low, frame=frame, fitted=fitted, photo=photo)
    found = np.asarray(jax.jit(to_photo)(logits, plan))
    assert found.shape[0] % 256 == 0
    assert found.shape[1] % 256 == 0
    expected = in_two_steps(logits, frame, photo)
    np.testing.assert_allclose(found[: photo[0], : photo[1]], expected, atol=1e-5)
    assert not found[photo[0] :].any()
    assert not found[:, photo[1] :].any()


def test_packed_masks_are_the_positive_logits():
    low, frame, photo = (32, 32), (128, 128), (50, 75)
    logits = np.random.default_rng(1).normal(0, 5, (3, *low)).astype(np.float32)
    fitted = fitted_size(height=photo[0], width=photo[1], frame=frame)
    plan = resize_plan(low=low, frame=frame, fitted=fitted, photo=photo)
    packed = np.asarray(packed_masks(jnp.asarray(logits), plan))
    masks = np.unpackbits(packed, axis=-1).astype(bool)
    assert not masks[:, photo[0] :].any()
    for mask, one in zip(masks, logits, strict=True):
        np.testing.assert_array_equal(mask[: photo[0], : photo[1]], in_two_steps(one, frame, photo) > 0)


def test_every_pixels_weights_sum_to_one():
    taps = axis_taps(low=256, frame=1024, fitted=683, photo=1500)
    np.testing.assert_allclose(taps.weight.sum(axis=1), 1, atol=1e-6)
    assert taps.weight.min() >= 0


def test_a_frame_smaller_than_its_logits_is_refused():
    with pytest.raises(ValueError, match="fewer than the 256 logits"):
        axis_taps(low=256, frame=128, fitted=128, photo=100)
