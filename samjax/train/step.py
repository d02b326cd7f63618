"""One update, a pure function of (state, batch, key)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from samjax.checkpoint.manager import state_shapes
from samjax.core.random import Stream, derive
from samjax.core.types import Batch, MaskOutput, unpack_masks
from samjax.losses.sam_loss import RoundLoss, loss_pixels, loss_target, round_loss, sam_loss
from samjax.models.sam.sam import Sam
from samjax.optim.schedule import learning_rate
from samjax.parallel.sharding import batch_sharding, replicated
from samjax.prompting.interactive import interact
from samjax.prompting.rounds import Interaction
from samjax.train.config import TrainConfig
from samjax.train.state import Blueprint, TrainState

Metrics = dict[str, Float[Array, ""]]
TrainStep = Callable[[TrainState, Batch, Key[Array, ""]], tuple[TrainState, Metrics]]


def play(
    model: Sam, batch: Batch, config: TrainConfig, *, model_key: Key[Array, ""], annotator_key: Key[Array, ""]
) -> Interaction:
    """Encode the photos once and play every round of the annotator; what is observed of each is its `RoundLoss`."""
    masks = unpack_masks(batch.masks, config.model.image_size[1])
    target = loss_target(masks, config.loss.loss_size)
    pixels = loss_pixels(batch.valid_size, image_size=config.model.image_size, loss_size=config.loss.loss_size)
    embedding = model.encode(batch.image, batch.valid_size, key=model_key)

    def observe(output: MaskOutput, _: Any) -> RoundLoss:
        return round_loss(output, target, pixels, config.loss)

    return interact(
        model.decoder(embedding),
        observe,
        masks=masks,
        valid_size=batch.valid_size,
        logits_size=config.model.logits_size,
        key=annotator_key,
        config=config.prompting,
    )


def interaction_loss(
    model: Sam, batch: Batch, config: TrainConfig, *, model_key: Key[Array, ""], annotator_key: Key[Array, ""]
) -> tuple[Float[Array, ""], Metrics]:
    """Play every round of the annotator, return the loss and its terms."""
    rounds = play(model, batch, config, model_key=model_key, annotator_key=annotator_key).observed
    return sam_loss(rounds, batch.mask_valid, config.loss)


def make_train_step(config: TrainConfig, blueprint: Blueprint) -> TrainStep:
    """Return the update, to be jitted; gradients are averaged over the valid masks of the global batch.

    A step whose loss or gradient is not finite changes neither parameters nor moments, and counts as a step.
    """
    rate = learning_rate(config.optim.schedule)

    def train_step(state: TrainState, batch: Batch, run: Key[Array, ""]) -> tuple[TrainState, Metrics]:
        def objective(params):
            return interaction_loss(
                blueprint.model(params, state.buffers),
                batch,
                config,
                model_key=derive(run, Stream.MODEL, state.step),
                annotator_key=derive(run, Stream.PROMPTING, state.step),
            )

        (_, metrics), gradients = jax.value_and_grad(objective, has_aux=True)(state.params)
        # Without a constraint of their own the compiler may replicate gradients, 4 bytes a parameter a device.
        gradients = jax.lax.with_sharding_constraint(gradients, blueprint.shardings.params)
        updates, opt_state = blueprint.optimizer.update(gradients, state.opt_state, state.params)
        metrics = {**metrics, "grad_norm": optax.tree.norm(gradients), "lr": jnp.asarray(rate(state.step))}
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["grad_norm"])

        def unless_broken(new: Array, old: Array) -> Array:
            return jnp.where(finite, new, old) if jnp.issubdtype(new.dtype, jnp.floating) else new

        params = jax.tree.map(unless_broken, optax.apply_updates(state.params, updates), state.params)
        opt_state = jax.tree.map(unless_broken, opt_state, state.opt_state)
        return dataclasses.replace(state, params=params, opt_state=opt_state, step=state.step + 1), metrics

    return train_step


def lower_train_step(config: TrainConfig, blueprint: Blueprint, mesh: Mesh) -> jax.stages.Lowered:
    """Trace and lower the update over `mesh`, whose devices need not be there. The old state's memory is reused."""
    step = jax.jit(
        make_train_step(config, blueprint),
        donate_argnums=0,
        out_shardings=(blueprint.shardings, replicated(mesh)),
    )
    with jax.set_mesh(mesh):
        return step.lower(
            state_shapes(blueprint.shapes, blueprint.shardings),
            abstract_batch(config, batch_sharding(mesh)),
            jax.eval_shape(lambda: jax.random.key(0)),
        )


def abstract_batch(config: TrainConfig, sharding: jax.sharding.Sharding) -> Batch:
    """Return the shapes of a global batch."""
    height, width = config.model.image_size
    images, masks = config.batch_size, config.data.max_masks

    def zeros() -> Batch:
        return Batch(
            image=jnp.zeros((images, height, width, 3), jnp.uint8),
            valid_size=jnp.zeros((images, 2), jnp.int32),
            masks=jnp.zeros((images, masks, height, -(-width // 8)), jnp.uint8),
            mask_valid=jnp.zeros((images, masks), bool),
            record_id=jnp.zeros((images,), jnp.int32),
        )

    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), jax.eval_shape(zeros)
    )
