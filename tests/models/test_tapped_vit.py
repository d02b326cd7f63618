"""The plain ViT as a backbone: its maps, their norms, layers, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn, normal
from flax import nnx

from samjax.core.errors import UserError
from samjax.core.tree import first_match
from samjax.models.vit.tapped_vit import TappedVitConfig
from samjax.nn.rngs import initial_rngs
from samjax.nn.structure import array_shapes

SMALL = TappedVitConfig(patch=4, width=16, depth=3, heads=2, taps=(0, 2), map_norms=True, epsilon=1e-3)
SIDES, GRID = (12, 16), (3, 4)
FLOAT32 = jnp.dtype("float32")


def make(config: TappedVitConfig, *, rngs: nnx.Rngs):
    return config.make(image_size=SIDES, dtype=FLOAT32, rngs=rngs)


@pytest.mark.parametrize("class_token", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_maps_are_those_of_the_blocks_under_norms(class_token):
    """The last block is tapped too, so its map comes twice, with a norm of its own each."""
    vit = drawn(lambda: make(dataclasses.replace(SMALL, class_token=class_token), rngs=initial_rngs(0)))
    image = normal(2, *SIDES, 3)
    maps, features = jax.jit(lambda vit, image: (vit(image), vit.features(image)))(vit, image)
    raw = (*features.taps, features.map)
    assert vit.config.taps == (0, 2)
    assert [one.shape for one in maps] == [(2, *GRID, 16)] * 3
    np.testing.assert_allclose(raw[1], raw[2], rtol=1e-6)
    for norm, one, found in zip(vit.norms, raw, maps, strict=True):
        assert norm.epsilon == 1e-3
        centred = one - one.mean(-1, keepdims=True)
        expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-3) * norm.scale + norm.bias
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(maps[1] - maps[2]).max() > 0.1


def test_sizes_of_maps():
    assert SMALL.channels == (16, 16, 16)
    assert SMALL.strides == (4, 4, 4)
    assert SMALL.fixed_size
    assert TappedVitConfig().channels == (768,)


def test_every_parameter_has_its_layer():
    """A map's norm learns with the block before it; the head comes after the last."""
    shapes = array_shapes(lambda *, rngs: make(dataclasses.replace(SMALL, distillation_token=True), rngs=rngs))
    ids = {path: first_match(f"encoder/{path}", SMALL.layer_ids("encoder")) for path in shapes}
    first = ("patch_embed/kernel", "position", "class_token", "distillation_token")
    assert {ids[path] for path in first} == {0}
    assert ids["groups/full/mlp/up/kernel"] == (1, 2, 3)
    assert [ids[f"norms/{index}/scale"] for index in range(3)] == [1, 3, 3]
    assert SMALL.layers == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"taps": (0, 3)}, r"model\.encoder\.taps are \(0, 3\); give rising block numbers below the depth, 3"),
        ({"class_token": False, "distillation_token": True}, "it needs class_token True"),
        ({"global_every": 3}, "class_token is True, but a class token has no place on a map"),
        ({"width": 15}, r"model\.encoder\.width is 15; it must be a positive multiple of 2"),
    ],
)
def test_bad_configs_are_refused(change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(SMALL, **change)


def test_a_frame_of_no_whole_patches_is_refused():
    with pytest.raises(UserError, match=r"model\.image_size \(12, 18\) is not a multiple of the patch, 4"):
        SMALL.make(image_size=(12, 18), dtype=FLOAT32, rngs=nnx.Rngs(0))
