"""Pyramid vision transformers: published counts, strides, drop path, and what is refused."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from samjax.core.errors import UserError
from samjax.core.tree import nest
from samjax.models.pyramid.pyramid import Pyramid, PyramidConfig
from samjax.models.pyramid.pyramid_blocks import PyramidBlock
from samjax.nn.reduction_attention import POOLED, Reduction, pooling
from samjax.nn.structure import array_shapes, model_with

TINY = PyramidConfig(widths=(4, 8, 10, 16), depths=(1, 2, 1, 1))
FLOAT32 = jnp.dtype("float32")


def classifier(width: int) -> int:
    """The parameters of a published classifier's head, of 1000 classes."""
    return 1000 * width + 1000


V1_CLASSIFIER = classifier(512) + 4 * 512
"""With the class token, its place in the last table, and the norm before the head."""
COUNTS = {
    "MiT-B0": (PyramidConfig.mit_b0(), 3_319_392),
    "MiT-B1": (PyramidConfig.mit_b1(), 13_151_424),
    "MiT-B2": (PyramidConfig.mit_b2(), 24_196_288),
    "MiT-B3": (PyramidConfig.mit_b3(), 44_072_128),
    "MiT-B4": (PyramidConfig.mit_b4(), 60_842_688),
    "MiT-B5": (PyramidConfig.mit_b5(), 81_443_008),
    "PVT-Tiny": (PyramidConfig.pvt_tiny(), 13_229_288 - V1_CLASSIFIER),
    "PVT-Small": (PyramidConfig.pvt_small(), 24_485_864 - V1_CLASSIFIER),
    "PVT-Medium": (PyramidConfig.pvt_medium(), 44_208_104 - V1_CLASSIFIER),
    "PVT-Large": (PyramidConfig.pvt_large(), 61_369_320 - V1_CLASSIFIER),
    "PVTv2-B0": (PyramidConfig.pvt_v2_b0(), 3_666_760 - classifier(256)),
    "PVTv2-B1": (PyramidConfig.pvt_v2_b1(), 14_009_000 - classifier(512)),
    "PVTv2-B2": (PyramidConfig.pvt_v2_b2(), 25_362_856 - classifier(512)),
    "PVTv2-B2-Li": (PyramidConfig.pvt_v2_b2_li(), 22_553_512 - classifier(512)),
    "PVTv2-B3": (PyramidConfig.pvt_v2_b3(), 45_238_696 - classifier(512)),
    "PVTv2-B4": (PyramidConfig.pvt_v2_b4(), 62_556_072 - classifier(512)),
    "PVTv2-B5": (PyramidConfig.pvt_v2_b5(), 81_956_008 - classifier(512)),
}
BY_DEFAULT = ("MiT-B0", "PVT-Tiny", "PVTv2-B2-Li")


@pytest.mark.parametrize(
    "name", [name if name in BY_DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in COUNTS]
)
def test_published_sizes_have_the_published_parameters(name):
    """The authors' own counts, less what their classifiers have besides; tables of positions as for 224 pixels."""
    config, expected = COUNTS[name]
    shapes = array_shapes(lambda *, rngs: Pyramid(config, image_size=(224, 224), dtype=FLOAT32, rngs=rngs))
    assert sum(map(math.prod, shapes.values())) == expected


@pytest.fixture(scope="module")
def model():
    config, draw = dataclasses.replace(TINY, drop_path=0.5), np.random.default_rng(1)

    def make(*, rngs):
        return Pyramid(config, image_size=(64, 96), dtype=FLOAT32, rngs=rngs)

    arrays = {name: draw.normal(size=shape).astype(np.float32) for name, shape in array_shapes(make).items()}
    return model_with(make, params=nest(arrays), buffers={})


@pytest.fixture(scope="module")
def image():
    return jnp.asarray(np.random.default_rng(0).normal(size=(4, 64, 96, 3)), jnp.float32)


@pytest.fixture(scope="module")
def maps(model, image):
    return jax.jit(lambda model, image: model(image))(model, image)


def test_each_map_has_its_stride_and_channels(maps):
    assert TINY.strides == (4, 8, 16, 32)
    expected = [(4, 64 // stride, 96 // stride, width) for stride, width in zip(TINY.strides, TINY.widths, strict=True)]
    assert [one.shape for one in maps] == expected


def test_drop_path_rates_rise_over_all_stages(model, image, maps):
    """From 0 for the first of five blocks to the config's for the last, which is dropped for some photos."""
    stage = type(model.stages[0])
    apply = stage.__call__
    rates, kept = [], []

    def record(one, image, of_stage, keep):
        rates.extend(np.asarray(of_stage).tolist())
        kept.extend(np.asarray(keep))
        return apply(one, image, of_stage, keep)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "__call__", record)
        dropped = model(image, key=jax.random.key(3))
    np.testing.assert_allclose(rates, np.linspace(0, 0.5, 5), atol=1e-7)
    assert len(kept) == 5
    assert kept[0].all()
    assert 0 < kept[-1].sum() < kept[-1].size
    assert not np.allclose(dropped[-1], maps[-1], atol=1e-3)


def test_each_stage_resizes_its_own_table():
    """P1: at twice the tables' sides, the second stage has as many tokens as the first one's table."""
    config = dataclasses.replace(TINY, overlapping=False, table_size=(224, 224))

    def maps(image):
        return Pyramid(config, image_size=(448, 448), dtype=FLOAT32, rngs=nnx.Rngs(0))(image)

    found = jax.eval_shape(maps, jax.ShapeDtypeStruct((1, 448, 448, 3), jnp.float32))
    assert [one.shape[1:3] for one in found] == [(112, 112), (56, 56), (28, 28), (14, 14)]


def test_each_norm_has_the_authors_epsilon(model):
    """S1: outputs hardly show it, and transformers has one for all."""
    stage = model.stages[0]
    for norm in (stage.blocks.norm1, stage.blocks.norm2, stage.norm):
        assert norm.epsilon == 1e-6
    for norm in (stage.patches.norm, stage.blocks.attention.norm):
        assert norm.epsilon == 1e-5


def test_a_block_drops_one_branch_and_keeps_the_other():
    block = PyramidBlock(TINY, 3, dtype=FLOAT32, rngs=nnx.Rngs(0))
    tokens, rate = jnp.asarray(np.random.default_rng(0).normal(size=(1, 2, 3, 16)), jnp.float32), jnp.float32(0.5)
    found = block(tokens, rate, jnp.array([[True], [False]]))
    np.testing.assert_allclose(found, tokens + 2 * block.attention(block.norm1(tokens)), rtol=1e-5)
    found = block(tokens, rate, jnp.array([[False], [True]]))
    np.testing.assert_allclose(found, tokens + 2 * block.mlp(block.norm2(tokens)), rtol=1e-5)


def test_pooling_is_adaptive():
    """Parts overlap where the side is no multiple; a map smaller than 7 repeats its cells."""
    np.testing.assert_allclose(pooling(14, POOLED) @ np.arange(14), np.arange(7) * 2 + 0.5)
    assert [np.flatnonzero(row).tolist() for row in pooling(9, POOLED)] == [
        [0, 1], [1, 2], [2, 3], [3, 4, 5], [5, 6], [6, 7], [7, 8],
    ]  # fmt: skip
    np.testing.assert_allclose(pooling(3, POOLED).sum(axis=1), 1, rtol=1e-6)


def test_bad_sizes_are_refused():
    with pytest.raises(UserError, match=r"model\.encoder\.widths\[1\] is 9; it must be a positive multiple of 2"):
        PyramidConfig(widths=(4, 9, 10, 16))
    with pytest.raises(UserError, match="only overlapping patches have it"):
        PyramidConfig(overlapping=False, reduction=Reduction.POOL)
    apart = dataclasses.replace(TINY, overlapping=False)
    with pytest.raises(UserError, match=r"model\.image_size \(64, 100\) is not a multiple of the patch, 32; use 96"):
        array_shapes(lambda *, rngs: Pyramid(apart, image_size=(64, 100), dtype=FLOAT32, rngs=rngs))
