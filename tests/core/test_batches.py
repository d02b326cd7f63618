"""Masks packed eight pixels a byte."""

import jax.numpy as jnp
import numpy as np

from samjax.core.batches import unpack_masks


def test_packed_masks_come_back_at_any_width():
    for width in (1, 7, 8, 13, 64):
        masks = np.random.default_rng(width).random((2, 3, 5, width)) < 0.5
        np.testing.assert_array_equal(unpack_masks(jnp.packbits(jnp.asarray(masks), axis=-1), width), masks)
