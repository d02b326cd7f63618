"""Heads: what parity in PyTorch without noise does not show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from samjax.models.heads.all_mlp import AllMlpConfig, AllMlpHead
from samjax.models.heads.fpn import FpnConfig, FpnHead
from samjax.models.heads.ocr import OcrConfig, OcrHead

MAPS = tuple(jnp.asarray(np.random.default_rng(0).normal(size=(3, *side, 2)), jnp.float32) for side in ((4, 6), (2, 3)))
WIDTH = 8
SIZES = {"channels": (2, 2), "classes": WIDTH, "dtype": jnp.dtype("float32")}


def all_mlp(dropout: float) -> AllMlpHead:
    return AllMlpHead(AllMlpConfig(width=WIDTH, dropout=dropout), **SIZES, rngs=nnx.Rngs(0))


def ocr(dropout: float) -> OcrHead:
    config = OcrConfig(width=WIDTH, key_width=4, auxiliary_width=4, auxiliary_kernel=1, dropout=dropout)
    return OcrHead(config, **SIZES, rngs=nnx.Rngs(0))


def semantic_fpn(dropout: float) -> FpnHead:
    config = FpnConfig(pyramid_width=4, width=WIDTH, dropout=dropout)
    return FpnHead(config, strides=(4, 8), **SIZES, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("make", [all_mlp, pytest.param(ocr, marks=pytest.mark.slow), semantic_fpn])
def test_dropout_is_of_whole_channels_of_a_photo(make):
    """With logits that are the mixed channels themselves: each is 0 everywhere or twice what it was."""

    def logits(rate):
        head = make(rate)
        head.classify.kernel[...] = jnp.eye(WIDTH)
        return np.asarray(head(MAPS, key=jax.random.key(1)).logits)

    whole, dropped = logits(0.0), logits(0.5)
    gone = ~dropped.any(axis=(1, 2)) & whole.any(axis=(1, 2))
    assert 0 < gone.sum() < gone.size
    np.testing.assert_allclose(dropped, np.where(gone[:, None, None], 0, 2 * whole), rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(make(0.5)(MAPS).logits), np.asarray(make(0.0)(MAPS).logits))
