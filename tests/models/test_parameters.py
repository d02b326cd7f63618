"""What a model is made of: counts, names, shapes, types and logical axes."""

import functools
import math
import os
from collections.abc import Iterable
from pathlib import Path

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
from samjax.nn.stack import layer, stack
from samjax.parallel.mesh import AXES, MeshConfig, Preset
from samjax.parallel.rules import RULES, partition_spec
from samjax.parallel.sharding import logical_axes

GOLDEN = Path(__file__).parent.parent / "golden"
REGENERATE = "SAMJAX_REGENERATE_GOLDEN"
DEVICES = 256


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


def table(config: SamConfig) -> str:
    """Return a line a parameter: what it is, and how either preset splits it over `DEVICES` devices."""
    meshes = {
        preset.value: AbstractMesh(MeshConfig(preset=preset).sizes(DEVICES), AXES)
        for preset in (Preset.FSDP, Preset.FSDP_TENSOR)
    }
    totals = dict.fromkeys(meshes, 0)
    lines = [
        "# Path, shape, type, logical axes; then for each mesh the axes that split it, and bytes a device.",
        *(
            f"# {name}: {', '.join(f'{axis} {size}' for axis, size in mesh.shape.items())}"
            for name, mesh in meshes.items()
        ),
    ]
    for variables in abstract(config):
        leaves = named_leaves(nnx.to_pure_dict(variables))
        axes = named_leaves(logical_axes(variables), is_leaf=lambda node: isinstance(node, tuple))
        for path, leaf in leaves.items():
            columns = [f"{path} {'x'.join(map(str, leaf.shape))} {leaf.dtype} {_dimensions(axes[path])}"]
            for name, mesh in meshes.items():
                spec = partition_spec(axes[path], leaf.shape, mesh)
                shard = math.prod(NamedSharding(mesh, spec).shard_shape(leaf.shape)) * leaf.dtype.itemsize
                totals[name] += shard
                columns.append(f"{_dimensions(spec)} {shard}")
            lines.append(" | ".join(columns))
    lines.append(f"# bytes a device | {' | '.join(f'{name} {total}' for name, total in totals.items())}")
    return "\n".join(lines) + "\n"


def _dimensions(names: Iterable[str | tuple[str, ...] | None]) -> str:
    return ",".join("+".join(name) if isinstance(name, tuple) else name or "-" for name in names)


@pytest.mark.parametrize("model", ["vit_b", "vit_h"])
def test_parameters_and_their_shards_are_the_golden_ones(model):
    """A change of a name, shape, type or axis shows in review: it loses old checkpoints, or memory."""
    text, golden = table(getattr(SamConfig, model)()), GOLDEN / f"{model}_parameters.txt"
    if os.environ.get(REGENERATE):
        golden.write_text(text)
    assert text == golden.read_text(), f"if the change is meant: {REGENERATE}=1 pytest {Path(__file__).name}"


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


def test_initialisation_is_a_function_of_the_key(micro):
    draw = jax.jit(lambda key: nnx.split(Sam(micro, rngs=nnx.Rngs(key)).prompt_encoder)[1])
    first, again, other = (jax.tree.leaves(draw(jax.random.key(seed))) for seed in (0, 0, 1))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    differing = [bool((a != b).any()) for a, b in zip(first, other, strict=True)]
    assert sum(differing) > len(differing) / 3  # biases and norms start the same
