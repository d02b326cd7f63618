"""Where a correcting click may fall."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.bilinear import bilinear

from samjax.prompting.error_region import error_region, predicted_mask, upscale


@pytest.mark.parametrize("size", [(32, 32), (64, 32), (33, 50), (8, 8), (12, 20)])
def test_upscale_is_torchs_bilinear(size):
    logits = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(upscale(jnp.asarray(logits), size), bilinear(logits, size), rtol=1e-5, atol=1e-6)
    assert predicted_mask(jnp.asarray(logits, jnp.bfloat16), size).shape == (2, 3, *size)


def test_error_region_is_what_is_wrong_inside_the_photo():
    rng = np.random.default_rng(0)
    prediction, truth = (jnp.asarray(rng.random((2, 3, 6, 7)) < 0.5) for _ in range(2))
    valid = jnp.zeros((2, 1, 6, 7), bool).at[:, :, :5, :4].set(True)
    region = error_region(prediction, truth, valid)
    assert (region[..., :5, :4] == (prediction ^ truth)[..., :5, :4]).all()
    assert not region[..., 5:, :].any()
    assert not region[..., 4:].any()


def test_a_perfect_prediction_leaves_the_mask_itself():
    """Errors in the padding are none; a mask next to it with an error keeps its error."""
    truth = jnp.zeros((1, 2, 6, 7), bool).at[:, :, 1:3, 1:3].set(True)
    valid = jnp.ones((1, 1, 6, 7), bool).at[..., 5].set(False)
    prediction = truth.at[..., 5].set(True).at[0, 1, 1, 1].set(False)
    region = error_region(prediction, truth, valid)
    assert (region[0, 0] == truth[0, 0]).all()
    assert np.argwhere(region[0, 1]).tolist() == [[1, 1]]
