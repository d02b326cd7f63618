"""A mesh changes where numbers lie, never which: the training step under every preset is that of one device.

What is left is the order of sums, a relative 1e-7. Three things make more of it, the more in ten steps that feed on
each other, and none is the mesh's. Each is taken out here:

- Adam divides a gradient by its own size. Where it has none but rounding, as of the keys' biases, which a softmax
  cancels, that makes a full step of noise; with epsilon 1e-8 the second step is 1e-3 apart. Here epsilon is 1e-3.
- A ReLU has a kink: of thousands, one whose input is zero but for rounding moves the gradient by up to 1e-4. Here it
  is a softplus: the same ten steps then agree to 1e-6.
- Clicks and IoU look at where logits cross zero. Of the two million that ten steps look at, one lies on the fence:
  another pixel is clicked, and the runs part. Here the annotator only prompts and refines, and IoU is of 8 x 8 pixels.

`test_step.py` has a step with nothing taken out.
"""

import dataclasses
import functools
import math
import re
from collections import Counter
from typing import NamedTuple

import jax
import numpy as np
import pytest

from samjax.core.tree import named_leaves
from samjax.losses.sam_loss import LossConfig
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import DropsConfig
from samjax.parallel.mesh import MeshConfig, Preset, make_mesh
from samjax.parallel.sharding import batch_sharding, replicated
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.training.state import Blueprint, TrainState, init_state, make_blueprint
from samjax.training.step import make_train_step

STEPS = 10
TOLERANCE = 1e-5
ONE_DEVICE = MeshConfig(data=1)
MESHES = {
    "replicated": MeshConfig(preset=Preset.REPLICATED),
    "fsdp": MeshConfig(preset=Preset.FSDP),
    "fsdp_tensor": MeshConfig(preset=Preset.FSDP_TENSOR),
    "all_axes": MeshConfig(data=2, fsdp=2, tensor=2),
}
# Each takes a minute: all axes at once run with the slow tests, the others by hand.
NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "all_axes" else [pytest.mark.slow, pytest.mark.long])
    for name in MESHES
]


class Run(NamedTuple):
    """Metrics of ten steps, the state after the first and after the last, and what they were made with."""

    history: list[dict[str, np.ndarray]]
    first: TrainState
    last: TrainState
    blueprint: Blueprint
    lowered: jax.stages.Lowered
    compiled: jax.stages.Compiled


@pytest.fixture(scope="module")
def run(micro_run):
    """Takes a mesh and whether layers drop out; returns a `Run`."""
    stream = dataclasses.replace(micro_run, batch_size=8, seed=0).stream()
    batch = jax.device_get(next(stream))
    stream.close()
    optim = OptimConfig(epsilon=1e-3, schedule=DropsConfig(peak_lr=1e-4, warmup_steps=2, milestones=()))

    prompting = InteractionConfig(corrections=0, refinement=Refinement.LAST)

    @functools.cache
    def run(mesh: MeshConfig, drops: bool):
        model = micro_run.model
        if drops:
            encoder = dataclasses.replace(model.image_encoder, drop_path=0.4)
            decoder = dataclasses.replace(model.mask_decoder, dropout=0.1)
            model = dataclasses.replace(model, image_encoder=encoder, mask_decoder=decoder)
        config = dataclasses.replace(
            micro_run,
            model=model,
            optim=optim,
            prompting=prompting,
            loss=LossConfig(loss_size=8),
            batch_size=8,
            masks_at_once=None
            if mesh is ONE_DEVICE
            else 1,  # all of the photos', or a loop over one mask after another
        )
        devices = make_mesh(mesh, jax.devices()[:1] if mesh is ONE_DEVICE else None)
        blueprint = make_blueprint(config, devices)
        key = jax.random.key(config.seed)
        with jax.set_mesh(devices), pytest.MonkeyPatch.context() as patch:
            patch.setattr(jax.nn, "relu", jax.nn.softplus)
            state = init_state(blueprint, config, key)
            placed = jax.device_put(batch, batch_sharding(devices))
            shardings = (blueprint.shardings, replicated(devices))
            lowered = jax.jit(make_train_step(config, blueprint), out_shardings=shardings).lower(state, placed, key)
            step = lowered.compile()
            history, states = [], []
            for _ in range(STEPS):
                state, metrics = step(state, placed, key)
                history.append(jax.device_get(metrics))
                states.append(jax.device_get(state))
        return Run(history, states[0], states[-1], blueprint, lowered, step)

    return run


def assert_close(found, expected, *, only: str = "") -> None:
    """Compare each parameter's array by the norm of the difference, relative to its own.

    Biases of keys are left out: they move all scores of a query alike, so their gradient is rounding.
    """
    found, expected = named_leaves(found), named_leaves(expected)
    names = [name for name in expected if only in name and not name.endswith("key/bias")]
    assert len(names) > 100
    apart = {
        name: np.linalg.norm(found[name] - expected[name]) / max(np.linalg.norm(expected[name]), 1e-30)
        for name in names
    }
    assert max(apart.values()) < TOLERANCE, sorted(apart.items(), key=lambda item: -item[1])[:8]


def assert_same_ten_steps(found: Run, expected: Run) -> None:
    for step, (mine, theirs) in enumerate(zip(found.history, expected.history, strict=True)):
        for name in theirs:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=TOLERANCE, err_msg=f"{name}, step {step + 1}")
    # The first moment is a tenth of the gradient after one step, and the mean of ten after ten.
    assert_close(found.first.opt_state, expected.first.opt_state, only="mu/")
    assert_close(found.last.opt_state, expected.last.opt_state, only="mu/")
    assert_close(found.last.params, expected.last.params)


@pytest.mark.parametrize("mesh", NAMES)
def test_ten_steps_are_those_of_one_device(run, mesh):
    """With dropout and drop path: randomness is of the photo and the step, not of the device."""
    assert_same_ten_steps(run(MESHES[mesh], True), run(ONE_DEVICE, True))


@pytest.mark.slow
def test_dropout_is_at_work_here(run):
    """Else the runs above would say nothing of randomness."""
    losses = [[float(metrics["loss"]) for metrics in run(ONE_DEVICE, drops).history] for drops in (False, True)]
    assert np.abs(np.subtract(*losses)).max() > 1e-3


@pytest.mark.parametrize("mesh", NAMES)
def test_a_device_is_given_and_gives_back_its_shards_alone(run, mesh):
    """The compiled step takes and returns the state split as planned, and nothing of a parameter's size beside it."""
    blueprint, compiled = run(MESHES[mesh], True).blueprint, run(MESHES[mesh], True).compiled
    planned, shapes = jax.tree.leaves(blueprint.shardings), jax.tree.leaves(blueprint.shapes)
    for found in (compiled.input_shardings[0][0], compiled.output_shardings[0]):
        for leaf, sharding, shape in zip(jax.tree.leaves(found), planned, shapes, strict=True):
            assert leaf.is_equivalent_to(sharding, len(shape.shape))
    state = sum(
        math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for sharding, leaf in zip(planned, shapes, strict=True)
    )
    metrics = 4 * len(run(MESHES[mesh], True).history[0])
    assert compiled.memory_analysis().output_size_in_bytes < state + metrics + 16 * len(shapes)
    held, whole = (
        sum(size for name, size in named_leaves(sizes).items() if "image_encoder/" in name)
        for sizes in (
            jax.tree.map(
                lambda sharding, leaf: math.prod(sharding.shard_shape(leaf.shape)),
                blueprint.shardings,
                blueprint.shapes,
            ),
            jax.tree.map(lambda leaf: leaf.size, blueprint.shapes),
        )
    )
    assert (held < whole / 2) == (mesh != "replicated")


@pytest.mark.parametrize("mesh", NAMES)
def test_gradients_are_split_like_their_parameters(run, mesh):
    """Each parameter's gradient is pinned to its layout. Left to itself the compiler may make every device hold all."""
    found = run(MESHES[mesh], True)
    pinned = Counter(
        (re.sub(r"\s", "", spec), shape)
        for spec, shape in re.findall(
            r"sdy\.sharding_constraint %\S+ <@mesh, (\[.*?\])> : tensor<(\S+)>", found.lowered.as_text()
        )
    )
    wanted = Counter()
    for sharding, leaf in zip(
        jax.tree.leaves(found.blueprint.shardings.params), jax.tree.leaves(found.blueprint.shapes.params), strict=True
    ):
        parts = [(part,) if isinstance(part, str) else part or () for part in sharding.spec]
        text = ",".join("{" + ",".join(f'"{axis}"' for axis in part) + "}" for part in parts)
        wanted[f"[{text}]", "x".join([*map(str, leaf.shape), "f32"])] += 1
    assert len(wanted) > 20
    assert not wanted - pinned
