"""Convolutions with standardised kernels against transformers' (BiT)."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers.models.bit.modeling_bit import WeightStandardizedConv2d

from samjax.nn.standardised_conv import StandardisedConv


@pytest.mark.parametrize(("size", "stride"), [(7, 2), (3, 2), (3, 1), (1, 2)])
@pytest.mark.parametrize("scale", [1.0, 1e-4])
@torch.no_grad()
def test_any_size(size, stride, scale, agrees):
    """The padding depends on whether a side is even; a small kernel's variance is near the epsilon of 1e-8."""
    kernel = scale * np.random.default_rng(0).normal(size=(size, size, 3, 4)).astype(np.float32)
    conv = StandardisedConv(3, 4, size, stride=stride, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0))
    conv.kernel[...] = jnp.asarray(kernel)
    theirs = WeightStandardizedConv2d(3, 4, size, stride=stride, eps=1e-8)
    theirs.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1)))
    for sides in ((8, 9), (9, 10), (2, 1)):
        image = np.random.default_rng(1).normal(size=(2, *sides, 3)).astype(np.float32)
        expected = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
        agrees(f"standardised {size} x {size} of stride {stride}", conv(jnp.asarray(image)), expected)
