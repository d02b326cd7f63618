"""FLOPs counted from what a function traces: XLA's own count, loops, conditionals, and the tasks that use it."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from helpers.tiny_systems import SYSTEMS

from samjax.data.segments.segment_data import SegmentDataConfig
from samjax.models.traced_flops import traced_flops
from samjax.tasks.semantic import SemanticTraining

SIDE = 16
ONE_PRODUCT = 2 * SIDE**3
SQUARE = jax.ShapeDtypeStruct((SIDE, SIDE), jnp.float32)


def test_products_and_convolutions_are_xlas_count():
    """XLA leaves out what a kernel does beside the border; without padding there is none."""

    def function(maps, kernel, left, right):
        convolved = jax.lax.conv_general_dilated(
            maps, kernel, (2, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=3
        )
        return convolved, jnp.einsum("bij,kbj->bki", left, right)

    shapes = ((2, 11, 9, 12), (3, 2, 4, 6), (5, 7, 3), (2, 5, 3))
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    counted = jax.jit(function).lower(*arguments).cost_analysis()["flops"]
    assert traced_flops(function, *arguments) == counted


def test_a_depthwise_convolution_is_left_out():
    maps, kernel = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((1, 8, 8, 6), (3, 3, 1, 6)))
    traced = traced_flops(
        lambda maps, kernel: jax.lax.conv_general_dilated(
            maps, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=6
        ),
        *(maps, kernel),
    )
    assert traced == 0


def test_a_loop_counts_as_often_as_it_runs():
    traced = traced_flops(
        lambda x: jax.lax.scan(lambda x, _: (jax.checkpoint(jnp.matmul)(x, x), None), x, length=5), SQUARE
    )
    assert traced == 5 * ONE_PRODUCT


def test_of_a_conditional_the_larger_branch_counts():
    traced = traced_flops(lambda x: jax.lax.cond(x[0, 0] > 0, lambda: x @ x, lambda: x @ x @ x), SQUARE)
    assert traced == 2 * ONE_PRODUCT


def test_a_loop_of_unknown_length_is_refused_if_it_has_products():
    with pytest.raises(ValueError, match="how often it runs"):
        traced_flops(lambda x: jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x @ x, x), SQUARE)
    assert traced_flops(lambda x: jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x - 1, x), SQUARE) == 0


def test_a_dense_run_counts_three_forward_passes_of_its_model():
    """Segmenter's linear head on a plain ViT: every product is in the sheet of its sizes."""
    model = SYSTEMS["segmenter-linear"]
    width, depth, tokens = 48, 4, (96 // 4) ** 2
    block = 12 * (tokens + 1) * width**2 + 2 * (tokens + 1) ** 2 * width
    multiplied = tokens * 4 * 4 * 3 * width + depth * block + tokens * width * model.classes
    config = SemanticTraining(model=model, data=SegmentDataConfig(source="synthetic:photos=8"))
    assert config.flops() == 3 * 2 * multiplied
    assert dataclasses.replace(config, trainable=("head/**",)).flops() is None
