"""What a Segment Anything model is made of, beside the laws of every family in tests/families."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AbstractMesh, NamedSharding

from samjax.core.tree import named_leaves
from samjax.models.sam.prompt_encoder import PositionEncoding
from samjax.models.sam.sam import Sam, SamConfig
from samjax.nn.init import Buffer
from samjax.nn.rngs import initial_rngs
from samjax.nn.stack import layer, stack
from samjax.parallel.mesh import AXES, MeshConfig, Preset
from samjax.parallel.rules import partition_spec
from samjax.parallel.sharding import logical_axes


@functools.cache
def abstract(config: SamConfig) -> tuple[nnx.State, nnx.State]:
    _, params, buffers = nnx.split(nnx.eval_shape(lambda: Sam(config, rngs=initial_rngs(0))), nnx.Param, Buffer)
    return params, buffers


def count(tree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def test_the_gaussian_matrix_is_a_buffer():
    """Saved with the model, out of reach of the optimiser; drawn from N(0, 1)."""
    params, buffers = abstract(SamConfig.vit_b())
    assert list(named_leaves(nnx.to_pure_dict(buffers))) == ["prompt_encoder/position/gaussian"]
    assert "gaussian" not in str(list(named_leaves(nnx.to_pure_dict(params))))
    drawn = PositionEncoding(2048, rngs=nnx.Rngs(0)).gaussian[...]
    assert drawn.shape == (2, 1024)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.1)
    assert float(drawn.std()) == pytest.approx(1, abs=0.1)


def test_epsilon_of_every_norm():
    """1e-5 in the two-way transformer, 1e-6 everywhere else; trained activations hide a wrong one until they do not."""
    model = nnx.eval_shape(lambda: Sam(SamConfig.tiny(), rngs=initial_rngs(0)))
    norms = {
        "/".join(map(str, path)): node for path, node in nnx.iter_modules(model) if isinstance(node, nnx.LayerNorm)
    }
    assert len(norms) == 4 + 2 + 2 + 1 + 4 + 1  # blocks of either kind, neck, mask prompt, upscaler, two-way
    for path, norm in norms.items():
        assert norm.epsilon == (1e-5 if path.startswith("mask_decoder/transformer") else 1e-6), path
        assert not norm.use_fast_variance, path


@pytest.mark.parametrize("model", ["vit_b", "vit_l", "vit_h"])
@pytest.mark.parametrize("preset", [Preset.FSDP, Preset.FSDP_TENSOR])
@pytest.mark.parametrize("devices", [128, 256])
def test_what_no_rule_splits_is_small(model, preset, devices):
    """A device holds its share of the image encoder, and at most a hundredth of it whole beside that.

    The others are for masks, which never leave their device: 4 million, whole everywhere.
    """
    params, _ = abstract(getattr(SamConfig, model)())
    mesh = AbstractMesh(MeshConfig(preset=preset).sizes(devices), AXES)
    parts = mesh.shape["fsdp"] * mesh.shape["tensor"]
    assert parts >= 16
    axes = named_leaves(logical_axes(params), is_leaf=lambda node: isinstance(node, tuple))
    held = {
        path: math.prod(NamedSharding(mesh, partition_spec(axes[path], leaf.shape, mesh)).shard_shape(leaf.shape))
        for path, leaf in named_leaves(nnx.to_pure_dict(params)).items()
    }
    encoder = {path: size for path, size in held.items() if path.startswith("image_encoder/")}
    whole = count(nnx.to_pure_dict(params)["image_encoder"])
    assert sum(encoder.values()) < whole / parts + whole / 100, sorted(encoder.items(), key=lambda item: -item[1])[:5]
    assert sum(held.values()) - sum(encoder.values()) == 6_220 + 4_058_340


def test_a_stack_is_independent_draws_and_gives_its_layers_back():
    drawn = stack(lambda rngs: nnx.Linear(4, 4, rngs=rngs), 3, rngs=nnx.Rngs(0))
    kernels = drawn.kernel[...]
    assert kernels.shape == (3, 4, 4)
    assert len({float(kernel[0, 0]) for kernel in kernels}) == 3
    x = jnp.arange(4.0)
    np.testing.assert_array_equal(layer(drawn, 1)(x), x @ kernels[1])
