"""Attention between token sets."""

import jax.numpy as jnp
import numpy as np
from arrays import normal, perturbed
from flax import nnx

from samjax.nn.token_attention import TokenAttention


def test_invalid_keys_get_no_weight():
    """Not a small weight: whatever they hold, and however large, the result is the same."""
    attention = perturbed(TokenAttention(12, 6, 3, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0)))
    queries, keys = normal(2, 4, 12), normal(2, 6, 12, seed=1)
    valid = jnp.array([[True] * 5 + [False], [True, False] * 3])
    out = attention(queries, keys, keys, key_valid=valid)
    noisy = jnp.where(valid[..., None], keys, 1e4)
    np.testing.assert_array_equal(attention(queries, noisy, noisy, key_valid=valid), out)
    kept = keys[1:, ::2]
    np.testing.assert_allclose(attention(queries[1:], kept, kept), out[1:], atol=1e-6)
