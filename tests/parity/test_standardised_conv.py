"""Convolutions with standardised kernels against transformers' (BiT)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers.models.bit.modeling_bit import WeightStandardizedConv2d

from samjax.nn.standardised_conv import StandardisedConv
from samjax.nn.structure import model_with

apply = jax.jit(lambda module, image: module(image))


@pytest.mark.parametrize(("size", "stride"), [(7, 2), (3, 2), (1, 2)])
@torch.no_grad()
def test_even_and_odd_sides(size, stride, agrees):
    """The padding depends on whether a side is even; a small kernel's variance is near the epsilon of 1e-8."""
    kernel = 1e-4 * np.random.default_rng(0).normal(size=(size, size, 3, 4)).astype(np.float32)
    make = functools.partial(StandardisedConv, 3, 4, size, stride=stride, dtype=jnp.dtype("float32"))
    conv = model_with(make, params={"kernel": kernel}, buffers={})
    theirs = WeightStandardizedConv2d(3, 4, size, stride=stride, eps=1e-8)
    theirs.weight.copy_(torch.from_numpy(kernel.transpose(3, 2, 0, 1)))
    image = np.random.default_rng(1).normal(size=(2, 8, 9, 3)).astype(np.float32)
    expected = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    agrees(f"standardised {size} x {size} of stride {stride}", apply(conv, image), expected)
