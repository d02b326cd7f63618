"""Laws of one update."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.tree import named_leaves
from samjax.data.loader import train_stream
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.parallel.sharding import batch_sharding, replicated
from samjax.prompting.interactive import Refinement
from samjax.train.state import init_state, make_blueprint
from samjax.train.step import abstract_batch, make_train_step


@pytest.fixture(scope="module")
def config(micro_run):
    return dataclasses.replace(micro_run, batch_size=8)


def _run(config, mesh, *, steps, edit=lambda batch: batch):
    """Return the state and each step's metrics on `mesh`."""
    blueprint = make_blueprint(config.model, config.optim, mesh)
    run = jax.random.key(config.seed)
    with jax.set_mesh(mesh):
        state = init_state(blueprint, config.model, run)
        step = jax.jit(make_train_step(config, blueprint), out_shardings=(blueprint.shardings, replicated(mesh)))
        stream = train_stream(
            config.data,
            image_size=config.model.image_size,
            batch_size=config.batch_size,
            seed=config.seed,
            sharding=batch_sharding(mesh),
        )
        history = []
        for _ in range(steps):
            state, metrics = step(state, edit(next(stream)), run)
            history.append(jax.device_get(metrics))
        stream.close()
    return state, history


@pytest.fixture(scope="module")
def one_device(config):
    return _run(config, make_mesh(MeshConfig(), jax.devices()[:1]), steps=1)


def test_slots_without_a_mask_weigh_nothing(config, one_device):
    """Twice the slots, the new ones invalid and full of noise: the same first loss."""
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    fewer = dataclasses.replace(config, prompting=dataclasses.replace(config.prompting, point_probability=0.0))
    fewer = dataclasses.replace(fewer, prompting=dataclasses.replace(fewer.prompting, box_noise_std=0.0, corrections=0))
    fewer = dataclasses.replace(fewer, prompting=dataclasses.replace(fewer.prompting, refinement=Refinement.LAST))
    noise = np.random.default_rng(0).integers(0, 256, (8, 2, 64, 8), np.uint8)

    def widen(batch):
        return dataclasses.replace(
            batch,
            masks=jnp.concatenate([batch.masks, noise], axis=1),
            mask_valid=jnp.concatenate([batch.mask_valid, jnp.zeros((8, 2), bool)], axis=1),
        )

    _, [exact] = _run(fewer, mesh, steps=1)
    _, [padded] = _run(fewer, mesh, steps=1, edit=widen)
    for name in ("loss", "focal", "dice", "iou_mse", "miou", "grad_norm"):
        np.testing.assert_allclose(padded[name], exact[name], rtol=1e-5, err_msg=name)


def test_an_update_moves_parameters_and_never_buffers(config, one_device):
    state, _ = one_device
    blueprint = make_blueprint(config.model, config.optim, make_mesh(MeshConfig(), jax.devices()[:1]))
    first = init_state(blueprint, config.model, jax.random.key(config.seed))
    moved = {
        name: not np.array_equal(leaf, named_leaves(first.params)[name])
        for name, leaf in named_leaves(state.params).items()
    }
    assert all(moved.values()), [name for name, it in moved.items() if not it]
    for name, leaf in named_leaves(state.buffers).items():
        np.testing.assert_array_equal(leaf, named_leaves(first.buffers)[name])


def test_the_step_compiles_for_the_stream_it_will_get(config):
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    stream = train_stream(config.data, image_size=(64, 64), batch_size=8, seed=0, sharding=batch_sharding(mesh))
    planned = abstract_batch(config, batch_sharding(mesh))
    for name, leaf in named_leaves(next(stream)).items():
        shape = named_leaves(planned)[name]
        assert (leaf.shape, leaf.dtype, leaf.sharding) == (shape.shape, shape.dtype, shape.sharding), name
    stream.close()


def test_nothing_in_the_step_calls_back_to_the_host(config):
    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    blueprint = make_blueprint(config.model, config.optim, mesh)
    with jax.set_mesh(mesh):
        traced = jax.jit(make_train_step(config, blueprint)).trace(
            blueprint.shapes, abstract_batch(config, batch_sharding(mesh)), jax.random.key(0)
        )
    assert "callback" not in str(traced.jaxpr)
