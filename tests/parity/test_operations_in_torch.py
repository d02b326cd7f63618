"""Single operations against PyTorch's, and the NumPy in which other tests restate one of them."""

import einops
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from helpers.bilinear import bilinear
from torch.nn import functional

from samjax.nn.init import VIT_INIT
from samjax.nn.patch import Unpatchify


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((8, 8), (33, 50)),
        ((8, 8), (8, 8)),
        ((48, 48), (20, 31)),
        ((256, 256), (1024, 1024)),
        ((683, 1024), (1500, 2250)),
        ((1, 1024), (1, 5000)),
        ((128, 128), (1, 1)),
    ],
)
def test_bilinear_of_the_other_tests(old, new, agrees):
    """To the last bits: the tests ask which logits are positive."""
    logits = np.random.default_rng(0).normal(0, 5, (2, *old)).astype(np.float32)
    expected = functional.interpolate(torch.tensor(logits)[None], new, mode="bilinear", align_corners=False)[0]
    ours = bilinear(logits, new)
    assert ours.dtype == np.float32
    agrees("bilinear of the tests", ours, expected, 1e-6)


@torch.no_grad()
def test_unpatchify_is_pytorchs_transposed_convolution():
    theirs = torch.nn.ConvTranspose2d(6, 4, kernel_size=2, stride=2)
    ours = Unpatchify(6, 4, init=VIT_INIT, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0))
    ours.kernel[...] = jnp.asarray(theirs.weight.permute(2, 3, 0, 1).numpy())
    ours.bias[...] = jnp.asarray(theirs.bias.numpy())
    image = np.random.default_rng(0).normal(size=(2, 3, 5, 6)).astype(np.float32)
    expected = theirs(torch.as_tensor(image).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    pixels = einops.rearrange(ours(jnp.asarray(image)), "n h w p q d -> n (h p) (w q) d")
    np.testing.assert_allclose(pixels, expected.numpy(), atol=1e-6)
