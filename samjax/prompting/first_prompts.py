"""The first prompts of a batch's masks, sampled as in training."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from samjax.core.batches import Batch, unpack_masks
from samjax.core.prompts import MaskOutput, Prompts
from samjax.core.random import keys_of_masks
from samjax.prompting.interactive import InteractionConfig, Refinement, interact


def first_prompts(
    batch: Batch, *, image_size: tuple[int, int], config: InteractionConfig, key: Key[Array, ""]
) -> Prompts:
    """Return the first point or box of each mask, sampled as in training.

    Runs the first round of the training interaction with a dummy decoder, photo by photo, so that it needs the memory
    of one photo's masks.
    """
    first_round = dataclasses.replace(config, corrections=0, refinement=Refinement.NONE)
    keys = keys_of_masks(key, *batch.mask_valid.shape)
    drawn = [
        _play(
            jax.tree.map(lambda leaf, b=b: leaf[b : b + 1], batch),
            keys[b : b + 1],
            image_size=image_size,
            config=first_round,
        )
        for b in range(len(batch.record_id))
    ]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *drawn)


@functools.partial(jax.jit, static_argnames=("image_size", "config"))
def _play(batch: Batch, keys: Key[Array, "b m"], *, image_size: tuple[int, int], config: InteractionConfig) -> Prompts:
    """Return the prompts after an interaction with a dummy decoder."""
    masks = unpack_masks(batch.masks, image_size[1])
    silence = jnp.zeros((*masks.shape[:2], 4), jnp.float32)
    interaction = interact(
        lambda prompts, _: MaskOutput(logits=silence[..., None, None], iou=silence),
        lambda output, round_index: (),
        masks=masks,
        valid_size=batch.valid_size,
        logits_size=(1, 1),
        keys=keys,
        config=config,
    )
    return interaction.prompts
