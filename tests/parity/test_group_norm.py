"""Group normalisation against PyTorch's, of maps so faint that the epsilon shows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import torch

from samjax.nn.norm import group_norm
from samjax.nn.structure import model_with


@torch.no_grad()
def test_groups_of_channels(agrees):
    scale, draw = 3e-3, np.random.default_rng(0)
    image = scale * draw.normal(size=(2, 5, 6, 8)).astype(np.float32)
    image[..., 2:4] += 3 * scale
    weight, bias = (draw.normal(size=8).astype(np.float32) for _ in range(2))
    make = functools.partial(group_norm, 8, 4, dtype=jnp.dtype("float32"))
    ours = model_with(make, params={"scale": weight, "bias": bias}, buffers={})
    theirs = torch.nn.GroupNorm(4, 8)
    theirs.weight.copy_(torch.from_numpy(weight))
    theirs.bias.copy_(torch.from_numpy(bias))
    expected = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    agrees("group norm", jax.jit(lambda norm, image: norm(image))(ours, image), expected)
