"""One round with the annotator: prompts in, masks out, and one mask fed back to the next round."""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float32, Key

from samjax.core.prompts import MaskOutput, Prompts
from samjax.core.struct import struct


class Answer(Protocol):
    """The model's answer for every prompted mask; a `MaskOutput` of all four tokens is one."""

    def single(self) -> MaskOutput:
        """Return token 0 alone, k = 1."""
        ...

    def candidates(self) -> MaskOutput:
        """Return tokens 1 to 3, k = 3."""
        ...


# Decodes every prompted mask. Each mask's key is for what is random in the decoder (dropout).
DecodeFn = Callable[[Prompts, Key[Array, "b m"]], Answer]


@struct
class Interaction:
    """The result of an interaction.

    `observations` are what the caller's `observe` returned, stacked over the rounds along a leading axis. `prompts` are
    those a further round would start from: all points and boxes, and the last carried mask as `mask_logits`.
    """

    observations: Any
    prompts: Prompts


def most_confident(output: MaskOutput) -> MaskOutput:
    """Return the mask with the highest predicted IoU, k = 1."""
    return output.take(jnp.argmax(output.iou, axis=-1))


def carry(prompts: Prompts, carried: Float32[Array, "b m h w"]) -> Prompts:
    """Return `prompts` with the carried mask's unthresholded logits as the mask prompt."""
    return Prompts(
        coords=prompts.coords,
        labels=prompts.labels,
        valid=prompts.valid,
        mask_logits=carried,
        has_mask=jnp.ones_like(prompts.has_mask),
    )


def stack_rounds(first: Any, rest: Any) -> Any:
    """Prepend the observations of round 0 to the scan's stack of later rounds."""
    return jax.tree.map(lambda one, many: jnp.concatenate([one[None], many]), first, rest)
