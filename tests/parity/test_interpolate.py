"""Maps resized on the device in float32 against PyTorch's `interpolate` in float64; its own float32 is further off."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from samjax.nn.interpolate import Method, interpolate

SIZES = (((5, 7), (17, 28)), ((16, 16), (4, 9)), ((1, 6), (8, 1)))


@pytest.mark.parametrize(("old", "new"), SIZES)
@pytest.mark.parametrize(
    ("method", "mode", "align_corners"),
    [
        (Method.BILINEAR, "bilinear", False),
        (Method.BILINEAR, "bilinear", True),
        (Method.BICUBIC, "bicubic", False),
        (Method.BICUBIC, "bicubic", True),
        (Method.NEAREST, "nearest", None),
    ],
)
def test_maps_are_resized_as_pytorch_does(old, new, method, mode, align_corners):
    maps = np.random.default_rng(0).uniform(-1, 1, (2, *old, 3)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.tensor(maps).double().permute(0, 3, 1, 2), size=new, mode=mode, align_corners=align_corners
    )
    resize = jax.jit(lambda maps: interpolate(maps, new, method=method, align_corners=bool(align_corners)), inline=True)
    np.testing.assert_allclose(resize(jnp.asarray(maps)), expected.permute(0, 2, 3, 1).numpy(), rtol=0, atol=2e-7)
