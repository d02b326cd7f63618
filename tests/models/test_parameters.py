"""What a model is made of: counts, names, shapes, types and logical axes."""

import functools
import math
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from samjax.core.tree import named_leaves
from samjax.models.sam.config import SamConfig
from samjax.models.sam.prompt_encoder import PositionEncoding, PromptEncoder
from samjax.models.sam.sam import Sam
from samjax.nn.init import Buffer
from samjax.nn.stack import layer, stack
from samjax.parallel.rules import RULES
from samjax.parallel.sharding import logical_axes

GOLDEN = Path(__file__).parent.parent / "golden" / "tiny_parameters.txt"
REGENERATE = "SAMJAX_REGENERATE_GOLDEN"


@functools.cache
def abstract(config: SamConfig) -> tuple[nnx.State, nnx.State]:
    _, params, buffers = nnx.split(nnx.eval_shape(lambda: Sam(config, rngs=nnx.Rngs(0))), nnx.Param, Buffer)
    return params, buffers


def count(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("config", "whole", "encoder"),
    [
        (SamConfig.vit_b(), 93_735_472, 89_670_912),
        (SamConfig.vit_l(), 312_342_832, 308_278_272),
        (SamConfig.vit_h(), 641_090_608, 637_026_048),
    ],
    ids=["vit_b", "vit_l", "vit_h"],
)
def test_the_papers_sizes_to_the_last_parameter(config, whole, encoder):
    params = nnx.to_pure_dict(abstract(config)[0])
    assert count(params) == whole
    assert count(params["image_encoder"]) == encoder
    assert count(params["prompt_encoder"]) == 6_220
    assert count(params["mask_decoder"]) == 4_058_340


def test_the_gaussian_matrix_is_a_buffer():
    """Saved with the model, out of reach of the optimiser; drawn from N(0, 1)."""
    params, buffers = abstract(SamConfig.vit_b())
    assert list(named_leaves(nnx.to_pure_dict(buffers))) == ["prompt_encoder/position/gaussian"]
    assert "gaussian" not in str(list(named_leaves(nnx.to_pure_dict(params))))
    drawn = PositionEncoding(2048, rngs=nnx.Rngs(0)).gaussian[...]
    assert drawn.shape == (2, 1024)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.1)
    assert float(drawn.std()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_are_float32_whatever_the_model_computes_in(dtype):
    for tree in abstract(SamConfig.tiny(dtype=dtype)):
        assert {leaf.dtype for leaf in jax.tree.leaves(nnx.to_pure_dict(tree))} == {jnp.dtype("float32")}


def test_epsilon_of_every_norm():
    """1e-5 in the two-way transformer, 1e-6 everywhere else; trained activations hide a wrong one until they do not."""
    model = nnx.eval_shape(lambda: Sam(SamConfig.tiny(), rngs=nnx.Rngs(0)))
    norms = {
        "/".join(map(str, path)): node for path, node in nnx.iter_modules(model) if isinstance(node, nnx.LayerNorm)
    }
    assert len(norms) == 4 + 2 + 2 + 1 + 4 + 1  # blocks of either kind, neck, mask prompt, upscaler, two-way
    for path, norm in norms.items():
        assert norm.epsilon == (1e-5 if path.startswith("mask_decoder/transformer") else 1e-6), path
        assert not norm.use_fast_variance, path


def test_every_logical_axis_has_a_rule():
    params, buffers = abstract(SamConfig.tiny())
    for variables in (params, buffers):
        for axes in jax.tree.leaves(logical_axes(variables), is_leaf=lambda node: isinstance(node, tuple)):
            assert {axis for axis in axes if axis is not None} <= RULES.keys()


def test_parameters_of_tiny_are_the_golden_ones():
    """A change of a name, shape, type or logical axis shows in review, and loses old checkpoints."""
    lines = ["# path, shape, dtype, logical axes"]
    for variables in abstract(SamConfig.tiny()):
        leaves = named_leaves(nnx.to_pure_dict(variables))
        axes = named_leaves(logical_axes(variables), is_leaf=lambda node: isinstance(node, tuple))
        for path, leaf in leaves.items():
            shape = "x".join(map(str, leaf.shape))
            lines.append(f"{path} {shape} {leaf.dtype} {','.join(axis or '-' for axis in axes[path])}")
    text = "\n".join(lines) + "\n"
    if os.environ.get(REGENERATE):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), f"if the change is meant: {REGENERATE}=1 pytest {Path(__file__).name}"


def test_a_stack_is_independent_draws_and_gives_its_layers_back():
    drawn = stack(lambda rngs: nnx.Linear(4, 4, rngs=rngs), 3, rngs=nnx.Rngs(0))
    kernels = drawn.kernel[...]
    assert kernels.shape == (3, 4, 4)
    assert len({float(kernel[0, 0]) for kernel in kernels}) == 3
    x = jnp.arange(4.0)
    np.testing.assert_array_equal(layer(drawn, 1)(x), x @ kernels[1])


def test_initialisation_is_a_function_of_the_key(micro):
    draw = jax.jit(lambda key: nnx.split(PromptEncoder(micro, rngs=nnx.Rngs(key)))[1])
    first, again, other = (jax.tree.leaves(draw(jax.random.key(seed))) for seed in (0, 0, 1))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    differing = [bool((a != b).any()) for a, b in zip(first, other, strict=True)]
    assert sum(differing) > len(differing) / 3  # biases and norms start the same
