"""Runs that see the same photos at every step."""

from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from samjax.parallel.mesh import make_mesh
from samjax.training.config import TrainConfig
from samjax.training.state import Blueprint, TrainState, init_state, make_blueprint
from samjax.training.step import make_train_step


class Learned(NamedTuple):
    """A run after its steps."""

    mesh: Mesh
    blueprint: Blueprint
    state: TrainState
    batch: Any


def learn(config: TrainConfig) -> Learned:
    """Take all steps of a run on one device, each with the first batch of its validation."""
    mesh = make_mesh(config.mesh, jax.devices()[:1])
    blueprint, run = make_blueprint(config, mesh), jax.random.key(0)
    (batch,) = config.validation_batches(mesh)
    with jax.set_mesh(mesh):
        state = jax.jit(lambda key: init_state(blueprint, config, key))(run)
        options = {"xla_backend_optimization_level": 3}  # not as other tests have it: hundreds of steps take minutes
        step = jax.jit(make_train_step(config, blueprint), donate_argnums=0, compiler_options=options)
        for _ in range(config.steps):
            state, _ = step(state, batch, run)
    return Learned(mesh=mesh, blueprint=blueprint, state=state, batch=batch)
