"""The evaluation interaction: clicks at the centre of the mask, then of the error (Segment Anything, section 7.1)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from samjax.core.errors import UserError
from samjax.core.prompts import MaskOutput, Prompts, point_slots
from samjax.prompting.clicks import add_click, central_click, central_correction
from samjax.prompting.rounds import (
    DecodeFn,
    Interaction,
    carry,
    most_confident,
    stack_rounds,
)

# Reduces a round to what is kept of it: `observe(output, carried, round_index)`. `output` has k = 3 in round 0 (the
# oracle chooses among them) and k = 1 after it; `carried` is its most confident mask, k = 1. The result must have the
# same structure and shapes in every round.
ClickObserveFn = Callable[[MaskOutput, MaskOutput, Int[Array, ""]], Any]


def evaluate_clicks(
    decode: DecodeFn,
    observe: ClickObserveFn,
    *,
    masks: Bool[Array, "b m h w"],
    valid_size: Int[Array, "b 2"],
    logits_size: tuple[int, int],
    clicks: int,
) -> Interaction:
    """Click each mask `clicks` times, always at the most interior pixel, and return what `observe` keeps of each round.

    Deterministic where `decode` is; it gets the same constant keys in every round and should ignore them. After the
    first click the most confident of three candidates is carried on; further rounds see all clicks and the carried
    logits, and answer with token 0.

    Args:
      decode: closure over the model and the photos' embeddings.
      observe: see `ClickObserveFn`.
      masks: ground truth at the resolution clicks are placed at. Slots without a True pixel are harmless.
      valid_size: (height, width) of each photo in its frame; no click falls outside it.
      logits_size: (height, width) of the decoder's masks.
      clicks: rounds in all, one click each; at least 1.

    Returns:
      Observations stacked over `clicks` rounds, and the final prompts: slot 0 the first click, slot 1 NOT_A_POINT,
      slot 1 + r the click of round r.
    """
    if clicks < 1:
        raise UserError(f"clicks is {clicks}, but an evaluation needs a first click; give 1 or more")
    keys = jnp.broadcast_to(jax.random.key(0), masks.shape[:2])

    def answer(prompts: Prompts, round_index: Int[Array, ""], output: MaskOutput) -> tuple:
        carried = most_confident(output)
        return (
            observe(output, carried, round_index),
            carry(prompts, carried.logits[:, :, 0].astype(jnp.float32)),
        )

    click = central_click(masks=masks, valid_size=valid_size)
    coords, labels = point_slots(click.coords[:, :, None], click.labels[..., None])
    prompts = Prompts.without_masks(coords=coords, labels=labels, logits_size=logits_size).pad_to(1 + clicks)
    observed, prompts = answer(prompts, jnp.zeros((), jnp.int32), decode(prompts, keys).candidates())

    def correct(prompts: Prompts, round_index: Int[Array, ""]) -> tuple:
        click = central_correction(logits=prompts.mask_logits, masks=masks, valid_size=valid_size)
        prompts = add_click(prompts, click, slot=1 + round_index, where=jnp.ones_like(click.exists))
        observed, prompts = answer(prompts, round_index, decode(prompts, keys).single())
        return prompts, observed

    prompts, later = jax.lax.scan(correct, prompts, jnp.arange(1, clicks, dtype=jnp.int32))
    return Interaction(observations=stack_rounds(observed, later), prompts=prompts)
