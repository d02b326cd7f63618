"""One update, a pure function of (state, batch, key)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from samjax.checkpoint.manager import state_shapes
from samjax.core.random import Stream, derive
from samjax.core.tree import named_leaves, overlay, select
from samjax.nn.init import Statistic
from samjax.optim.averaging import moving_average
from samjax.parallel.sharding import batch_sharding, replicated
from samjax.training.accumulation import check_parts, gradient_in_parts
from samjax.training.config import Metrics, StepKeys, TrainConfig
from samjax.training.state import Blueprint, TrainState

TrainStep = Callable[[TrainState, Any, Key[Array, ""]], tuple[TrainState, Metrics]]


def make_train_step(config: TrainConfig, blueprint: Blueprint) -> TrainStep:
    """Return the update, to be jitted; the task's objective sees the global batch.

    A step with a non-finite loss or gradient changes neither parameters, moments nor statistics, but counts as a step.
    """
    rate = config.optim.schedule.learning_rate(config.steps)

    def train_step(state: TrainState, batch: Any, run: Key[Array, ""]) -> tuple[TrainState, Metrics]:
        part = blueprint.trainable_part(state)
        keys = StepKeys(model=derive(run, Stream.MODEL, state.step), task=derive(run, Stream.TASK, state.step))

        def objective(part: Any, batch: Any, keys: StepKeys) -> tuple[Float[Array, ""], tuple[Metrics, Any]]:
            # A frozen parameter is a constant here, so nothing of the backward pass is built for it.
            model = blueprint.model(blueprint.weights(state.params, part), state.buffers)
            loss, metrics = config.objective(model, batch, keys=keys)
            return loss, (metrics, nnx.to_pure_dict(nnx.state(model, Statistic)))

        shardings = blueprint.trainable_part(blueprint.shardings)
        if config.accumulate > 1:
            (metrics, statistics), gradients = gradient_in_parts(
                objective, part, batch, keys, config=config, shardings=shardings
            )
        else:
            (_, (metrics, statistics)), gradients = jax.value_and_grad(objective, has_aux=True)(part, batch, keys)
            # Without this constraint the compiler may replicate gradients, 4 bytes per parameter on every device.
            gradients = jax.lax.with_sharding_constraint(gradients, shardings)
        updates, opt_state = blueprint.optimizer.update(gradients, state.opt_state, part)
        metrics = {**metrics, "grad_norm": optax.tree.norm(gradients), "lr": jnp.asarray(rate(state.step))}
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])

        def unless_broken(new: Array, old: Array) -> Array:
            return jnp.where(finite, new, old) if jnp.issubdtype(new.dtype, jnp.floating) else new

        part = jax.tree.map(unless_broken, optax.apply_updates(part, updates), part)
        opt_state = jax.tree.map(unless_broken, opt_state, state.opt_state)
        before = select(state.buffers, named_leaves(statistics))
        buffers = overlay(state.buffers, jax.tree.map(unless_broken, statistics, before))
        new = dataclasses.replace(
            blueprint.with_part(state, part), buffers=buffers, opt_state=opt_state, step=state.step + 1
        )
        if config.ema:
            average = moving_average(state.average, part, decay=config.ema, step=state.step)
            new = dataclasses.replace(new, average=jax.tree.map(unless_broken, average, state.average))
        return new, metrics

    return train_step


def lower_train_step(config: TrainConfig, blueprint: Blueprint, mesh: Mesh) -> jax.stages.Lowered:
    """Trace and lower the update over `mesh`, whose devices need not exist here. The old state is donated.

    Raises:
      UserError: `config.accumulate` does not divide the batch.
    """
    check_parts(config, mesh)
    step = jax.jit(
        make_train_step(config, blueprint),
        donate_argnums=0,
        out_shardings=(blueprint.shardings, replicated(mesh)),
    )
    with jax.set_mesh(mesh):
        return step.lower(
            state_shapes(blueprint.shapes, blueprint.shardings),
            config.abstract_batch(batch_sharding(mesh)),
            jax.eval_shape(lambda: jax.random.key(0)),
        )
