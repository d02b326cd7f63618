"""Heads: what parity in PyTorch without noise does not show."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from samjax.models.heads.all_mlp import AllMlpConfig, AllMlpHead


def test_dropout_is_of_whole_channels_of_a_photo():
    """With logits that are the mixed channels themselves: each is 0 everywhere or twice what it was."""
    width, maps = 8, tuple(jnp.asarray(np.random.default_rng(0).normal(size=(3, *side, 2)), jnp.float32)
                           for side in ((4, 6), (2, 3)))  # fmt: skip

    def logits(rate):
        head = AllMlpHead(
            AllMlpConfig(width=width, dropout=rate),
            channels=(2, 2),
            classes=width,
            dtype=jnp.dtype("float32"),
            rngs=nnx.Rngs(0),
        )
        head.classify.kernel[...] = jnp.eye(width)
        return np.asarray(head(maps, key=jax.random.key(1)).logits)

    whole, dropped = logits(0.0), logits(0.5)
    gone = ~dropped.any(axis=(1, 2)) & whole.any(axis=(1, 2))
    assert 0 < gone.sum() < gone.size
    np.testing.assert_allclose(dropped, np.where(gone[:, None, None], 0, 2 * whole), rtol=1e-6)
