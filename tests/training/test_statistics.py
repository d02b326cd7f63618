"""Batch normalisation in a training step: running values of the global batch, kept with the state."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from samjax.core.batches import PhotoBatch
from samjax.core.ranges import Count, config_class
from samjax.data.photo_data import PhotoDataConfig
from samjax.nn.batch_norm import BatchNorm
from samjax.optim.build import OptimConfig
from samjax.optim.schedule import ConstantConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.training.config import TrainConfig
from samjax.training.state import init_state, make_blueprint
from samjax.training.step import make_train_step

STEPS, RATE = 3, 0.1


class Normed(nnx.Module):
    """A norm of colours, and what they are to be afterwards."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.norm = BatchNorm(3, dtype=jnp.dtype("float32"), rngs=rngs)


@config_class("model")
class NormedConfig:
    """The model's config."""

    WORDS: ClassVar[str] = "a norm"
    width: Count = 3

    def make(self, *, rngs: nnx.Rngs) -> Normed:
        return Normed(rngs=rngs)

    def layer_ids(self):
        return ()


@config_class("")
class NormTraining(TrainConfig):
    """The cube of normalised colours is to be small: a loss whose gradient goes through the statistics."""

    model: NormedConfig

    def objective(self, model, batch, *, keys):
        del keys
        normed = model.norm(batch.image.astype(jnp.float32) / 64, training=True)
        loss = jnp.mean(normed**3)
        return loss, {"loss": loss}

    def examples(self, data, *, augment):
        raise NotImplementedError


def training(**fields) -> NormTraining:
    optim = OptimConfig(
        schedule=ConstantConfig(peak_lr=RATE, warmup_steps=0), weight_decay=0.0, clip_norm=0.0, layer_decay=1.0
    )
    return NormTraining(
        model=NormedConfig(),
        data=PhotoDataConfig(source="synthetic:photos=8,size=8"),
        optim=optim,
        steps=STEPS,
        batch_size=8,
        **fields,
    )


def batches() -> list[PhotoBatch]:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (STEPS, 8, 8, 8, 3), dtype=np.uint8)
    return [PhotoBatch(image=jnp.asarray(image), record_id=jnp.arange(8)) for image in images]


def train(config: NormTraining, devices: int, given: list[PhotoBatch]):
    """Return the state after each batch."""
    mesh = make_mesh(config.mesh, jax.devices()[:devices])
    blueprint = make_blueprint(config, mesh)
    states = [init_state(blueprint, config, jax.random.key(0))]
    with jax.set_mesh(mesh):
        step = jax.jit(make_train_step(config, blueprint))
        for batch in given:
            placed = jax.device_put(batch, batch_sharding(mesh))
            states.append(step(states[-1], placed, jax.random.key(1))[0])
    return jax.device_get(states)


@pytest.fixture(scope="module")
def alone():
    return train(training(mesh=MeshConfig(data=1)), 1, batches())


def test_the_step_keeps_running_values(alone):
    """A tenth of each batch's own, with the unbiased variance; parameters learn besides."""
    mean, variance = np.zeros(3), np.ones(3)
    for batch, state in zip(batches(), alone[1:], strict=True):
        values = np.asarray(batch.image, np.float64).reshape(-1, 3) / 64
        mean, variance = 0.9 * mean + 0.1 * values.mean(0), 0.9 * variance + 0.1 * values.var(0, ddof=1)
        np.testing.assert_allclose(state.buffers["norm"]["mean"], mean, rtol=1e-5)
        np.testing.assert_allclose(state.buffers["norm"]["variance"], variance, rtol=1e-5)
    assert not np.allclose(alone[-1].params["norm"]["bias"], 0, atol=1e-3)


def test_on_eight_devices_they_are_the_global_batchs(alone):
    split = train(training(mesh=MeshConfig(data=4, fsdp=2)), 8, batches())
    for part in ("buffers", "params"):
        for name in ("mean", "variance") if part == "buffers" else ("scale", "bias"):
            one, other = (getattr(states[-1], part)["norm"][name] for states in (split, alone))
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=name)


def test_parts_of_a_batch_have_their_own_and_leave_the_mean(alone):
    del alone
    (first, *_) = batches()
    state = train(training(mesh=MeshConfig(data=1), accumulate=2), 1, [first])[-1]
    halves = np.asarray(first.image, np.float32).reshape(2, -1, 3) / 64
    np.testing.assert_allclose(state.buffers["norm"]["mean"], 0.1 * halves.mean(axis=(0, 1)), rtol=1e-5)
    variance = halves.var(axis=1, ddof=1).mean(axis=0)
    np.testing.assert_allclose(state.buffers["norm"]["variance"], 0.9 + 0.1 * variance, rtol=1e-5)


def test_a_broken_step_changes_none(alone, monkeypatch):
    def broken(self, model, batch, *, keys):
        loss, metrics = objective(self, model, batch, keys=keys)
        return loss * jnp.nan, {name: value * jnp.nan for name, value in metrics.items()}

    objective = NormTraining.objective
    monkeypatch.setattr(NormTraining, "objective", broken)
    before, after = train(training(mesh=MeshConfig(data=1)), 1, batches()[:1])
    assert int(after.step) == 1
    for name, value in before.buffers["norm"].items():
        np.testing.assert_array_equal(after.buffers["norm"][name], value, err_msg=name)


def test_outside_training_running_values_count(alone):
    norm = BatchNorm(3, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0))
    nnx.update(norm, {name: jnp.asarray(value) for name, value in alone[-1].buffers["norm"].items()})
    image = jnp.asarray(batches()[0].image, jnp.float32) / 64
    found = norm(image, training=False)
    running = alone[-1].buffers["norm"]
    np.testing.assert_allclose(
        found, (image - running["mean"]) / np.sqrt(running["variance"] + 1e-5), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(norm.mean[...], running["mean"])
