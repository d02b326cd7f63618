"""PVT's published models with Semantic FPN: parameters, and positions of photos of any size."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.pyramid.pyramid import PyramidConfig
from samjax.models.pyramid.pyramid_blocks import Patches
from samjax.nn.interpolate import interpolate
from samjax.nn.rngs import initial_rngs
from samjax.nn.structure import abstract_model

CLASS_PLACE = 512
"""The place of the class token in PVT v1's last table, which the authors count."""
COUNTS = {
    "PVT-Tiny": (DenseConfig.pvt_tiny_fpn, 16_981_398 - CLASS_PLACE),
    "PVT-Small": (DenseConfig.pvt_small_fpn, 28_237_974 - CLASS_PLACE),
    "PVT-Medium": (DenseConfig.pvt_medium_fpn, 47_960_214 - CLASS_PLACE),
    "PVT-Large": (DenseConfig.pvt_large_fpn, 65_121_430 - CLASS_PLACE),
    "PVTv2-B0": (DenseConfig.pvt_v2_b0_fpn, 7_545_334),
    "PVTv2-B1": (DenseConfig.pvt_v2_b1_fpn, 17_762_646),
    "PVTv2-B2": (DenseConfig.pvt_v2_b2_fpn, 29_116_502),
    "PVTv2-B2-Li": (DenseConfig.pvt_v2_b2_li_fpn, 26_307_158),
    "PVTv2-B3": (DenseConfig.pvt_v2_b3_fpn, 48_992_342),
    "PVTv2-B4": (DenseConfig.pvt_v2_b4_fpn, 66_309_718),
    "PVTv2-B5": (DenseConfig.pvt_v2_b5_fpn, 85_709_654),
}
BY_DEFAULT = ("PVT-Tiny",)
TINY = PyramidConfig.pvt_tiny(widths=(4, 8, 10, 16), depths=(1, 1, 1, 1), table_size=(64, 64))


@pytest.mark.parametrize(
    "name", [name if name in BY_DEFAULT else pytest.param(name, marks=pytest.mark.slow) for name in COUNTS]
)
def test_published_sizes_have_the_published_parameters(name):
    """With 150 classes; PVT v1 has its classifier's tables, for 224 pixels."""
    make, expected = COUNTS[name]
    _, params, _ = abstract_model(make().make)
    assert sum(math.prod(leaf.shape) for leaf in named_leaves(params).values()) == expected


def test_each_stage_resizes_its_table_to_its_own_grid():
    """The authors' code asks whether the *first* stage's number of tokens fits: at twice the tables' size its second
    stage has that number, and a table of a quarter of it."""
    patches = drawn(lambda: Patches(TINY, 1, grid=(8, 8), dtype=jnp.dtype("float32"), rngs=initial_rngs(0)))
    tokens = jnp.asarray(np.random.default_rng(1).normal(size=(1, 32, 32, 4)), jnp.float32)
    expected = patches.norm(patches.project(tokens)) + interpolate(patches.position[None], (16, 16))
    np.testing.assert_allclose(patches(tokens), expected, rtol=1e-5, atol=1e-5)


def test_only_resized_tables_take_photos_of_any_size():
    assert not TINY.fixed_size
    assert dataclasses.replace(TINY, table_size=None).fixed_size
    with pytest.raises(UserError, match="overlapping patches have no tables"):
        PyramidConfig(table_size=(224, 224))
    with pytest.raises(UserError, match=r"model\.encoder\.table_size \(224, 100\) is not a multiple of the patch, 32"):
        PyramidConfig.pvt_tiny(table_size=(224, 100))
