"""The convolutional stem: where its tokens look, and how it is laid out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from samjax.core.errors import UserError
from samjax.models.vit.vit import Stem, VitConfig
from samjax.nn.conv_stem import ConvStem
from samjax.nn.init import VIT_INIT


def make(size: int, outputs: int = 16) -> ConvStem:
    return ConvStem(3, outputs, size, init=VIT_INIT, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0))


@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_a_token_stands_in_the_place_of_a_patch(size):
    """It sees its patch and a border of size - 1 pixels above and to the left, as 3 x 3 convolutions of stride 2 do."""
    stem, side = make(size), 4 * size
    image = jax.random.normal(jax.random.key(0), (1, side, side, 3))
    tokens = stem(image)
    assert tokens.shape == (1, 4, 4, 16)
    seen = jax.grad(lambda image: jnp.sum(stem(image)[0, 2, 1] ** 2))(image)[0]
    rows, columns = (np.flatnonzero(np.abs(np.asarray(seen)).sum(axis=(2, axis))) for axis in (1, 0))
    assert (rows.min(), rows.max()) == (2 * size - (size - 1), 3 * size - 1)
    assert (columns.min(), columns.max()) == (size - (size - 1), 2 * size - 1)


def test_channels_double_up_to_the_tokens():
    stem = make(16, outputs=40)
    assert [conv.kernel.shape for conv in stem.convs] == [(3, 3, 3, 5), (3, 3, 5, 10), (3, 3, 10, 20), (3, 3, 20, 40)]
    assert stem.out.kernel.shape == (40, 40)


def test_a_patch_is_a_power_of_two():
    assert VitConfig(patch=8, stem=Stem.CONVOLUTIONS).patch == 8
    with pytest.raises(UserError, match=r"patch is 14; with stem CONVOLUTIONS it must be a power of two"):
        VitConfig(patch=14, stem=Stem.CONVOLUTIONS)
