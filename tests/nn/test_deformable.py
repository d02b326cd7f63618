"""Where deformable attention looks at first; what it computes is held by Mask2Former's parity."""

import jax.numpy as jnp
import numpy as np

from samjax.nn.deformable import DeformableAttention, first_offsets
from samjax.nn.rngs import initial_rngs


def test_heads_look_around_their_place_at_first():
    offsets = first_offsets(8, 2, 3)
    np.testing.assert_allclose(offsets[0, 0], [[1, 0], [2, 0], [3, 0]], atol=1e-6)
    np.testing.assert_allclose(offsets[3, 1, 1], [-2, 2], atol=1e-6)
    attention = DeformableAttention(16, heads=8, levels=2, points=3, dtype=jnp.dtype("float32"), rngs=initial_rngs(0))
    np.testing.assert_allclose(attention.offsets.bias[...], offsets.ravel())
    assert not np.any(attention.offsets.kernel[...])
