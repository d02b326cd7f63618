"""The training interaction: a first prompt, corrections, refinements (Segment Anything, appendix A).

All rounds share one photo embedding, so a step decodes each mask 11 times at the paper's settings. Round 0 has one
ambiguous prompt and returns three candidates; later rounds have more than one prompt (the points, the carried mask) and
return only token 0.
"""

import enum
import functools
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

from samjax.core.prompts import MaskOutput, PointLabel, Prompts, box_slots, point_slots
from samjax.core.random import split_each
from samjax.core.ranges import CountOrNone, Probability, Range, config_class
from samjax.prompting.boxes import mask_box, noisy_box
from samjax.prompting.clicks import add_click, sample_correction
from samjax.prompting.points import sample_point
from samjax.prompting.rounds import (
    DecodeFn,
    Interaction,
    carry,
    most_confident,
    stack_rounds,
)

# Reduces a round to what is kept of it: `observe(output, round_index)`, `output` with k = 3 in round 0 and k = 1 after
# it. The result must have the same structure and shapes for both.
ObserveFn = Callable[[MaskOutput, Int[Array, ""]], Any]


class Refinement(enum.StrEnum):
    """Which rounds see the carried mask but no new click."""

    NONE = "none"
    LAST = "last"
    RANDOM_AND_LAST = "random_and_last"  # the paper: one at a random position among the corrections, one at the end


class CarriedGradient(enum.StrEnum):
    """Whether a round's loss reaches earlier rounds through the logits fed back."""

    FLOW = "flow"
    STOP = "stop"


_Spread = Annotated[float, Range(at_least=0, why="it is a distance, and 0 leaves boxes alone")]


@config_class("prompting")
class InteractionConfig:
    """The simulated annotator of training; defaults are the paper's, 11 rounds in all."""

    point_probability: Probability = 0.5
    """Share of masks whose first prompt is a point; the others start with a box."""
    box_noise_std: _Spread = 0.1
    """Standard deviation of the noise on a box coordinate, as a share of the box's side."""
    box_noise_max: _Spread = 20.0
    """Largest noise on a box coordinate, in pixels of the model's input."""
    corrections: CountOrNone = 8
    """Rounds that add a click from the error region. Fewer make a cheaper step."""
    refinement: Refinement = Refinement.RANDOM_AND_LAST
    """Which rounds see the carried mask but no new click: none, the last, or also one at a random place before."""
    carried_gradient: CarriedGradient = CarriedGradient.FLOW
    """Whether gradients flow through the logits passed from one round to the next. The paper does not say; in SAM 2's
    released training code they do."""

    @property
    def clicking_rounds(self) -> int:
        """Rounds 1 to this one may add a click; with RANDOM_AND_LAST one of them, drawn per mask, does not."""
        return self.corrections + (self.refinement is Refinement.RANDOM_AND_LAST)

    @property
    def rounds(self) -> int:
        """Total decoder iterations."""
        return 1 + self.clicking_rounds + (self.refinement is not Refinement.NONE)

    @property
    def slots(self) -> int:
        """Prompt slots a mask: two of the first prompt, and slot 1 + r for the click of round r."""
        return 2 + self.clicking_rounds


def interact(
    decode: DecodeFn,
    observe: ObserveFn,
    *,
    masks: Bool[Array, "b m h w"],
    valid_size: Int[Array, "b 2"],
    logits_size: tuple[int, int],
    keys: Key[Array, "b m"],
    config: InteractionConfig,
    recompute: bool = True,
) -> Interaction:
    """Run the annotator against `decode` and return what `observe` keeps from each round.

    With `recompute` only the prompts and carried logits of a round are stored, and the backward pass decodes again. So
    reduce to losses inside `observe`, and the logits of all rounds never exist at once. Click positions are not
    differentiable and are computed once.

    Masks know nothing of each other, and all randomness of a mask is drawn from its own key: masks played in several
    interactions, or beside others, get the same prompts.

    Args:
      decode: closure over the model and the photos' embeddings; gradients reach what it closes over.
      observe: see `ObserveFn`.
      masks: ground truth at the resolution clicks are drawn at. Slots without a True pixel are harmless.
      valid_size: (height, width) of each photo in its frame; no click falls outside it.
      logits_size: (height, width) of the decoder's masks.
      keys: each mask's randomness, the annotator's and the decoder's.
      config: see `InteractionConfig`.
      recompute: rematerialise each round, which stores less and computes more.

    Returns:
      Observations stacked over `config.rounds` rounds, and the final prompts. Slots 0 and 1 hold a point and
      NOT_A_POINT, or a box's corners; slot 1 + r the click of round r, valid where that round added one.
    """

    def answer(prompts: Prompts, round_index: Int[Array, ""], keys: Key[Array, "b m"], *, first: bool) -> tuple:
        decoded = decode(prompts, keys)
        output = decoded.candidates() if first else decoded.single()
        carried = most_confident(output).logits[:, :, 0].astype(jnp.float32)
        if config.carried_gradient is CarriedGradient.STOP:
            carried = jax.lax.stop_gradient(carried)
        return observe(output, round_index), carry(prompts, carried)

    # All rounds' keys at once, before the loop over rounds: a loop derives keys one scalar instruction at a time.
    drawn = jnp.moveaxis(split_each(keys, 2 * config.rounds + 1), -1, 0)
    first, silence = drawn[:2]
    decode_keys, click_keys = drawn[2 : 2 + config.rounds], drawn[2 + config.rounds :]

    prompts = _first_prompts(first, masks=masks, valid_size=valid_size, logits_size=logits_size, config=config)
    silent_round = _silent_rounds(silence, config)
    first_answer = functools.partial(answer, first=True)
    later_answer = functools.partial(answer, first=False)
    if recompute:
        # Inside a scan nothing can merge the recomputation with the first pass, so its barriers are not needed.
        first_answer, later_answer = jax.checkpoint(first_answer), jax.checkpoint(later_answer, prevent_cse=False)
    observed, prompts = first_answer(prompts, jnp.zeros((), jnp.int32), decode_keys[0])

    def correct(prompts: Prompts, this_round: tuple[Int[Array, ""], Key[Array, "b m"], Key[Array, "b m"]]) -> tuple:
        round_index, click_keys, decode_keys = this_round
        click = sample_correction(click_keys, logits=prompts.mask_logits, masks=masks, valid_size=valid_size)
        clicks_now = (round_index <= config.clicking_rounds) & (round_index != silent_round)
        prompts = add_click(prompts, click, slot=1 + round_index, where=clicks_now)
        observed, prompts = later_answer(prompts, round_index, decode_keys)
        return prompts, observed

    later_rounds = (jnp.arange(1, config.rounds, dtype=jnp.int32), click_keys, decode_keys[1:])
    prompts, later = jax.lax.scan(correct, prompts, later_rounds)
    return Interaction(observations=stack_rounds(observed, later), prompts=prompts)


def _first_prompts(
    keys: Key[Array, "b m"],
    *,
    masks: Bool[Array, "b m h w"],
    valid_size: Int[Array, "b 2"],
    logits_size: tuple[int, int],
    config: InteractionConfig,
) -> Prompts:
    """Draw a point or a box for each mask, and say which in its labels."""
    choice_keys, point_keys, box_keys = jnp.moveaxis(split_each(keys, 3), -1, 0)
    point = sample_point(point_keys, masks)
    point_coords, point_labels = point_slots(
        point.coords[:, :, None], jnp.full((*masks.shape[:2], 1), int(PointLabel.FOREGROUND), jnp.int32)
    )
    box = noisy_box(box_keys, mask_box(masks), valid_size, std=config.box_noise_std, limit=config.box_noise_max)
    box_coords, box_labels = box_slots(box)

    choose = jax.vmap(jax.vmap(lambda key: jax.random.bernoulli(key, config.point_probability)))
    starts_with_point = choose(choice_keys)[..., None]
    return Prompts.without_masks(
        coords=jnp.where(starts_with_point[..., None], point_coords, box_coords),
        labels=jnp.where(starts_with_point, point_labels, box_labels),
        logits_size=logits_size,
    ).pad_to(config.slots)


def _silent_rounds(keys: Key[Array, "b m"], config: InteractionConfig) -> Int[Array, "b m"]:
    """Draw the clicking round in which each mask gets no click; 0, which never clicks, if there is none to draw."""
    if config.refinement is not Refinement.RANDOM_AND_LAST:
        return jnp.zeros(keys.shape, jnp.int32)
    return jax.vmap(jax.vmap(lambda key: jax.random.randint(key, (), 1, config.clicking_rounds + 1)))(keys)
