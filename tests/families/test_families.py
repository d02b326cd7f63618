"""Laws that every family of models passes; `known_families.py` lists the families."""

import ast
import importlib
import inspect
import json
import math
import os
import pkgutil
from fnmatch import fnmatchcase
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from golden import GOLDEN, abstract, table
from jax.sharding import AbstractMesh, NamedSharding
from known_families import KNOWN
from known_family import KnownFamily
from PIL import Image

import samjax.models
import samjax.tasks
from samjax.checkpoint.load import config_of, model_record
from samjax.checkpoint.weights import save_weights
from samjax.cli.main import main
from samjax.core.json_config import from_json, to_json
from samjax.core.tree import map_with_names, named_leaves
from samjax.interop.families import FAMILIES
from samjax.interop.family import Source
from samjax.interop.read_weights import recognise
from samjax.nn.batch_norm import BatchNorm
from samjax.nn.init import Buffer
from samjax.nn.rngs import initial_rngs
from samjax.optim.build import decay_mask
from samjax.optim.layer_decay import layer_ids
from samjax.parallel.mesh import AXES, MeshConfig, Preset
from samjax.parallel.rules import RULES, partition_spec
from samjax.parallel.sharding import logical_axes
from samjax.tasks.depth import DepthTraining
from samjax.training.config import TrainConfig

ROOT = Path(__file__).parents[2]
REGENERATE = "SAMJAX_REGENERATE_GOLDEN"
LARGE = 2**19
"""Numbers in a parameter that a device should not hold whole."""
NORMS = (nnx.LayerNorm, nnx.RMSNorm, nnx.BatchNorm, nnx.GroupNorm, BatchNorm)

each_family = pytest.mark.parametrize("family", KNOWN, ids=lambda family: family.name)
each_size = pytest.mark.parametrize(
    ("family", "size"),
    [pytest.param(family, size, id=f"{family.name}-{size}") for family in KNOWN for size in family.sizes],
)
each_golden_size = pytest.mark.parametrize(
    ("family", "size"),
    [
        pytest.param(family, name, id=f"{family.name}-{name}")
        for family in KNOWN
        for name, size in family.sizes.items()
        if size.golden
    ],
)


def classes(package) -> set[type]:
    """Return the classes that the modules of a package define."""
    modules = [
        importlib.import_module(one.name) for one in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    ]
    return {
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__
    }


def parameters(family: KnownFamily):
    """Return the tiny model's parameters as shapes, in nested dictionaries."""
    return nnx.to_pure_dict(abstract(family.tiny)[1])


def test_every_family_is_here():
    """One that is not is tried by none of these laws. A config with `WORDS` is a family's: checkpoints say whose."""
    configs = {one for one in classes(samjax.models) if "WORDS" in vars(one)}
    assert {type(family.tiny) for family in KNOWN} == configs
    assert {family.exchange for family in KNOWN} - {None} == set(FAMILIES)
    tasks = {one for one in classes(samjax.tasks) if issubclass(one, TrainConfig) and not inspect.isabstract(one)}
    # Depth needs records of depth, which are not drawn: tests/tasks/test_depth_training.py has its laws.
    assert {type(family.training()) for family in KNOWN if family.training} == tasks - {DepthTraining}


@each_size
def test_published_sizes_have_the_published_count_of_parameters(family, size):
    published = family.sizes[size]
    counts = {
        name: math.prod(leaf.shape)
        for name, leaf in named_leaves(nnx.to_pure_dict(abstract(published.config)[1])).items()
    }
    for folder, expected in published.parameters.items():
        count = sum(number for name, number in counts.items() if not folder or name.startswith(f"{folder}/"))
        assert count == pytest.approx(expected, rel=0, abs=published.within), folder


@each_size
def test_large_parameters_are_split_over_eight_devices(family, size):
    """But for those of SAM's mask decoder, which is replicated: masks never move between devices."""
    mesh = AbstractMesh(MeshConfig(preset=Preset.FSDP).sizes(8), AXES)
    variables = abstract(family.sizes[size].config)[1]
    axes = named_leaves(logical_axes(variables), is_leaf=lambda node: isinstance(node, tuple))
    whole = []
    for path, leaf in named_leaves(nnx.to_pure_dict(variables)).items():
        shard = NamedSharding(mesh, partition_spec(axes[path], leaf.shape, mesh)).shard_shape(leaf.shape)
        if math.prod(leaf.shape) >= LARGE and math.prod(shard) * 8 > math.prod(leaf.shape):
            whole.append(path)
    assert [path for path in whole if not path.startswith("mask_decoder/")] == []


@each_golden_size
def test_parameters_and_their_shards_are_the_golden_ones(family, size):
    """A change of a name, shape, type or axis shows in review: it loses old checkpoints, or memory."""
    text, golden = table(family.sizes[size].config), GOLDEN / f"{family.name}_{size}_parameters.txt"
    if os.environ.get(REGENERATE):
        golden.write_text(text)
    assert text == golden.read_text(), f"if the change is meant: {REGENERATE}=1 pytest {Path(__file__).name}"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@each_family
def test_parameters_are_float32_whatever_the_model_computes_in(family, dtype):
    config = from_json(type(family.tiny), {**json.loads(to_json(family.tiny)), "dtype": dtype})
    assert config.dtype == dtype
    for variables in abstract(config)[1:]:
        for name, leaf in named_leaves(nnx.to_pure_dict(variables)).items():
            assert leaf.dtype == jnp.float32, name


@each_family
def test_every_logical_axis_has_a_rule(family):
    for variables in abstract(family.tiny)[1:]:
        axes = named_leaves(logical_axes(variables), is_leaf=lambda node: isinstance(node, tuple))
        for name, leaf in named_leaves(nnx.to_pure_dict(variables)).items():
            assert len(axes[name]) == len(leaf.shape), name
            assert {axis for axis in axes[name] if axis is not None} <= RULES.keys(), name


@each_family
def test_layer_ids_are_of_every_parameter_and_rise(family):
    """From 0 without a gap; along every stack, and from the input to the output."""
    ids = {
        name: np.asarray(array)
        for name, array in named_leaves(layer_ids(family.tiny.layer_ids(), parameters(family))).items()
    }
    numbers = set(np.concatenate([array.ravel() for array in ids.values()]).tolist())
    assert numbers == set(range(len(numbers)))
    for name, array in ids.items():
        assert (np.diff(array.ravel()) > 0).all(), name
    bounds = []
    for pattern in family.from_input:
        found = np.concatenate([array.ravel() for name, array in ids.items() if fnmatchcase(name, pattern)])
        bounds += [found.min(), found.max()]
    assert bounds[0] == 0
    assert bounds[-1] == max(numbers)
    for last, following in zip(bounds[1::2], bounds[2::2], strict=False):
        assert last < following


@each_family
def test_norms_biases_and_positions_are_not_decayed(family):
    """Norms are told by their class; what is neither kernel nor bias nor a norm's, the family says."""
    model = nnx.eval_shape(lambda: family.tiny.make(rngs=initial_rngs(0)))
    of_norms = {
        "/".join(map(str, (*path, name)))
        for path, module in nnx.iter_modules(model)
        if isinstance(module, NORMS)
        for name in vars(module)
    }
    decayed = named_leaves(decay_mask(parameters(family)))
    assert of_norms & decayed.keys()
    for name, applies in decayed.items():
        exempt = name in of_norms or name.endswith("/bias") or any(fnmatchcase(name, one) for one in family.undecayed)
        assert applies == (not exempt), name
    for pattern in family.undecayed:
        assert any(fnmatchcase(name, pattern) for name in decayed), pattern


@each_family
def test_configs_are_stored_and_read(family):
    """A model's is found again in a run's and in a checkpoint's, and says whose it is."""
    for config in (family.tiny, *(size.config for size in family.sizes.values())):
        record = json.loads(json.dumps(model_record(config)))
        assert from_json(type(config), json.loads(to_json(config))) == config
        assert config_of(record, *(type(other.tiny) for other in KNOWN), name="x") == config
        assert record["model_words"] == type(config).WORDS
    if family.training:
        run = json.loads(family.training().to_json())
        assert config_of(run, type(family.tiny), name="x") == family.tiny


@each_family
def test_a_public_model_is_compared_with(family):
    """In tests/parity, which needs the extra `parity`: here is looked at that the tests are there."""
    assert family.parity
    for place in family.parity:
        path, name = place.split("::")
        assert path.startswith("tests/parity/")
        functions = {
            node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)
        }
        assert name in functions, place


@pytest.mark.parametrize(
    ("family", "naming", "config"),
    [
        pytest.param(
            family,
            naming,
            config,
            id=f"{family.name}-{naming.name}{f'-{index}' if index else ''}",
            marks=[pytest.mark.slow] * (index > 0),
        )
        for family in KNOWN
        if family.exchange
        for naming in family.exchange.namings
        for index, config in enumerate(family.exchanged.get(naming.name, (family.tiny,)))
    ],
)
def test_what_is_exported_is_imported_bit_for_bit(family, naming, config):
    """Every array of the layout, and the config where it is of a whole model. Files are tests/parity's."""
    exchange = family.exchange
    assert exchange.holds(config)
    params, buffers = drawn(config)
    exported = exchange.to_torch(params, buffers, config, naming)
    if naming.part:
        back = exchange.from_torch(exported, config, naming)
    else:
        found = recognise(exported, name="x")
        assert (found.family, found.naming, found.prefix) == (exchange, naming, "")
        reading = exchange.read(Source(name="x", naming=naming, arrays=exported, **family.import_options))
        assert reading.config == config
        assert not reading.unused_keys
        back = (reading.params, reading.buffers)
    arrays, whole = (named_leaves(tree[0]) | named_leaves(tree[1]) for tree in (back, (params, buffers)))
    assert arrays.keys() < whole.keys() if naming.part else arrays.keys() == whole.keys()
    assert arrays
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, whole[name], err_msg=name)


@pytest.mark.parametrize("family", [one for one in KNOWN if one.name != "sam"], ids=lambda family: family.name)
def test_prediction_refuses_another_familys_checkpoint(family, tmp_path, capsys):
    """`samjax predict` needs a Segment Anything model."""
    folder, photo = saved(family, tmp_path), tmp_path / "photo.png"
    Image.new("RGB", (8, 8)).save(photo)
    given = {"--checkpoint": folder, "--image": photo, "--point": "1,2", "--out": tmp_path / "masks"}
    assert main(["predict", *(str(word) for option in given.items() for word in option)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    words = type(family.tiny).WORDS
    assert f"{folder} holds {words} ({type(family.tiny).__name__}); prediction needs a Segment Anything model" in said


@pytest.mark.parametrize(
    ("family", "other"),
    [
        pytest.param(family, other, id=f"{family.name}-{other.name}")
        for family in KNOWN
        for other in KNOWN
        if family.training and type(other.tiny) is not type(family.tiny) and other.name not in family.begins_with
    ],
)
def test_a_run_does_not_begin_with_another_familys_weights(family, other, tmp_path, capsys):
    """`samjax train EXPERIMENT --init-from CKPT`."""
    folder, experiment = saved(other, tmp_path), tmp_path / "mine.py"
    experiment.write_text(
        "from known_families import KNOWN\n"
        "def config():\n"
        f"    return next(one for one in KNOWN if one.name == {family.name!r}).training()\n"
    )
    split = ("--mesh.data", "2", "--mesh.fsdp", "2", "--mesh.tensor", "2")
    command = ("train", experiment, "--workdir", tmp_path / "run", "--init-from", folder, *split)
    assert main([str(word) for word in command]) == 2
    found, needed = type(other.tiny), type(family.tiny)
    said = capsys.readouterr().err
    assert said.startswith(
        f"samjax: init_from: {folder} holds {found.WORDS} ({found.__name__}); this experiment needs "
    )
    assert f"{needed.WORDS} ({needed.__name__})" in said
    assert said.count("\n") == 1


def drawn(config) -> tuple[dict, dict]:
    """Return parameters drawn from N(0, 1) as NumPy arrays, and buffers as a fresh model has them, by path.

    Running statistics are drawn too.
    """
    draw = np.random.default_rng(0)
    params, buffers = (nnx.to_pure_dict(one) for one in abstract(config)[1:])
    params = map_with_names(lambda _, leaf: draw.normal(size=leaf.shape).astype(np.float32), params)
    if all(name.endswith(("/mean", "/variance")) for name in named_leaves(buffers)):
        return params, map_with_names(lambda _, leaf: draw.normal(size=leaf.shape).astype(np.float32), buffers)
    buffers = jax.jit(lambda: nnx.to_pure_dict(nnx.state(config.make(rngs=initial_rngs(0)), Buffer)))()
    return params, jax.tree.map(np.asarray, buffers)


def saved(family: KnownFamily, folder: Path) -> Path:
    """Write a checkpoint of the family's tiny model, of no weights worth the name; return its folder."""
    path = folder / f"{family.name}_weights"
    save_weights(path, params={"a": np.zeros(1, np.float32)}, buffers={}, config=model_record(family.tiny))
    return path
