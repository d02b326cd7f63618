"""Metres of inverse depth, as DPT's fine-tuned models have them."""

import jax.numpy as jnp
import numpy as np

from samjax.models.dense_prediction.depth_calibration import DPT_HYBRID_KITTI, DPT_HYBRID_NYU


def test_metres_are_the_inverse_of_a_line():
    inverse = jnp.array([0.0, 100.0, 2000.0])
    expected = 1 / (0.000305 * np.array([0, 100, 2000]) + 0.1378)
    np.testing.assert_allclose(DPT_HYBRID_NYU.depth(inverse), expected, rtol=1e-6)
    expected = 1 / (0.00006016 * np.array([0, 100, 2000]) + 0.00579)
    np.testing.assert_allclose(DPT_HYBRID_KITTI.depth(inverse), expected, rtol=1e-6)


def test_what_has_no_inverse_is_very_far():
    np.testing.assert_allclose(DPT_HYBRID_KITTI.depth(jnp.array([-1e6])), [1e8], rtol=1e-6)
