"""Laws of every family's own task: initial weights, and the loss and its gradient wherever a batch lies."""

import contextlib
import dataclasses
import functools
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from jax.sharding import Mesh
from known_families import KNOWN
from known_family import KnownFamily

from samjax.core.random import Stream, derive
from samjax.core.tree import map_with_names, named_leaves
from samjax.data.stream.example import NO_RECORD
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.training.config import StepKeys
from samjax.training.state import Blueprint, init_state, make_blueprint

TOLERANCE = 1e-4
ROWS, PHOTOS = 4, 3
each_family = pytest.mark.parametrize("family", [one for one in KNOWN if one.training], ids=lambda family: family.name)


def each_family_in_time(*costly: str, by_hand: tuple[str, ...] = ()):
    """Every family; `costly` ones in the slow run, those that say so themselves and `by_hand` long: minutes each."""
    slow, long = pytest.mark.slow, pytest.mark.long
    return pytest.mark.parametrize(
        "family",
        [
            pytest.param(
                one, marks=[slow, long] if one.costly or one.name in by_hand else slow if one.name in costly else ()
            )
            for one in KNOWN
            if one.training
        ],
        ids=lambda family: family.name,
    )


class Place(NamedTuple):
    """Where a run lies, and its shapes and shardings there."""

    mesh: Mesh
    blueprint: Blueprint


@functools.cache
def place(family: KnownFamily, devices: int) -> Place:
    """Return one device, or eight that split batch, parameters and heads."""
    sizes = {1: MeshConfig(data=1), 8: MeshConfig(data=2, fsdp=2, tensor=2)}[devices]
    mesh = make_mesh(sizes, jax.devices()[:devices])
    return Place(mesh, make_blueprint(family.training(), mesh))


@functools.cache
def init(family: KnownFamily, devices: int) -> Any:
    """Return a function of a seed: the parameters and buffers that a run begins with, on the host."""
    config, (mesh, blueprint) = family.training(), place(family, devices)
    jitted = jax.jit(lambda key: init_state(blueprint, config, key))

    def initial(seed: int) -> Any:
        with jax.set_mesh(mesh):
            state = jitted(jax.random.key(seed))
        return jax.device_get((state.params, state.buffers))

    return initial


def photos(family: KnownFamily) -> Any:
    """Return the photos of the run's first batch, on the host."""
    stream = dataclasses.replace(family.training(), batch_size=PHOTOS).stream()
    rows = jax.device_get(next(stream))
    stream.close()
    assert (rows.record_id != NO_RECORD).all()
    return rows


def with_empty_rows(rows: Any) -> Any:
    """Return a batch of `ROWS`, filled up as the stream does it: with zeros and no record."""

    def longer(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array, np.zeros((ROWS - len(array), *array.shape[1:]), array.dtype)])

    padded = jax.tree.map(longer, rows)
    padded.record_id[len(rows.record_id) :] = NO_RECORD
    return padded


@contextlib.contextmanager
def without_cache():
    """Compile programs anew."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
        compilation_cache.reset_cache()


def loss_and_gradient(family: KnownFamily, devices: int, weights: Any, *batches: Any) -> list[tuple[Any, Any]]:
    """Return the task's loss, and its gradient by path, of each batch."""
    config, (mesh, blueprint) = family.training(), place(family, devices)
    run = jax.random.key(0)
    keys = StepKeys(model=derive(run, Stream.MODEL, 0), task=derive(run, Stream.TASK, 0))

    def objective(params, buffers, rows):
        return config.objective(blueprint.model(params, buffers), rows, keys=keys)

    shardings = blueprint.shardings
    program = jax.jit(
        jax.value_and_grad(objective, has_aux=True),
        in_shardings=(shardings.params, shardings.buffers, batch_sharding(mesh)),
        out_shardings=(None, shardings.params),
    )
    results = []
    for rows in batches:
        with jax.set_mesh(mesh), contextlib.nullcontext() if family.cached or devices == 1 else without_cache():
            (loss, metrics), gradient = jax.device_get(program(*weights, rows))
        assert np.isfinite(loss)
        assert metrics["loss"] == loss
        results.append((loss, named_leaves(gradient)))
    return results


def near_initial(family: KnownFamily) -> Any:
    """Return parameters and buffers near the initial ones: no bias is zero."""
    draw = np.random.default_rng(0)
    params, buffers = init(family, 8)(0)
    return map_with_names(
        lambda _, leaf: leaf + 0.02 * draw.normal(size=leaf.shape).astype(np.float32), params
    ), buffers


@each_family_in_time("sam", "segformer")
def test_initial_weights_are_those_of_the_key(family):
    """On the same devices bit for bit; on others but for the last bit of what is computed."""
    split, again, other, one = (
        named_leaves(init(family, devices)(seed)) for devices, seed in ((8, 0), (8, 0), (8, 1), (1, 0))
    )
    for name, array in split.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)
        np.testing.assert_allclose(one[name], array, rtol=1e-6, atol=1e-8, err_msg=name)
    kernels = [name for name in split if name.endswith("/kernel")]
    zeros = [name for name in kernels if any(fnmatchcase(name, f"0/{pattern}") for pattern in family.zero_kernels)]
    assert not any(split[name].any() for name in zeros)
    kernels = [name for name in kernels if name not in zeros]
    assert kernels
    for name in kernels:  # biases, norms and statistics begin alike, fixed tables too
        assert (other[name] != split[name]).any(), name


# SAM's takes a minute: tests/training/test_meshes.py and test_accumulation.py split its batches too.
@each_family_in_time("segformer", by_hand=("sam",))
def test_a_split_batch_with_an_empty_row_is_its_photos(family):
    """Batch, parameters and heads are split, and a row without a record weighs nothing: loss and gradient stay.

    What remains is the order of sums. An array's gradient is compared by the norm of the difference, relative to its
    own, and to a thousandth of the whole gradient's where it is but rounding.
    """
    rows, weights = photos(family), near_initial(family)
    (expected, gradient), *_ = loss_and_gradient(family, 1, weights, rows)
    other_photos = jax.tree_util.tree_map_with_path(
        lambda path, array: 255 - array if path[-1].name == "image" else array, rows
    )
    (loss, split), (other, _) = loss_and_gradient(
        family, 8, weights, with_empty_rows(rows), with_empty_rows(other_photos)
    )
    assert loss == pytest.approx(expected, rel=TOLERANCE)
    assert other != pytest.approx(expected, rel=TOLERANCE)  # it looks at the photos
    if family.jumps:
        return
    whole = np.linalg.norm([np.linalg.norm(array) for array in gradient.values()])
    apart = {
        name: np.linalg.norm(split[name] - array) / max(np.linalg.norm(array), 1e-3 * whole)
        for name, array in gradient.items()
    }
    assert max(apart.values()) < TOLERANCE, sorted(apart.items(), key=lambda item: -item[1])[:8]


@each_family
def test_the_largest_models_run_is_planned_without_an_array(family):
    """Shapes and shardings of parameters, buffers and moments; nothing of the model's size is made."""
    *_, largest = family.sizes.values()
    config = dataclasses.replace(family.training(), model=largest.config)
    before = {id(array) for array in jax.live_arrays()}
    blueprint = make_blueprint(config, place(family, 8).mesh)
    made = [array for array in jax.live_arrays() if id(array) not in before]
    assert sum(array.nbytes for array in made) < 1e6
    for leaf in jax.tree.leaves(blueprint.shapes):
        assert isinstance(leaf, jax.ShapeDtypeStruct)
