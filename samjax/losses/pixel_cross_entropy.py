"""Cross-entropy over pixels, with ignored ones, class weights and online hard example mining (Shrivastava et al. 2016).

Sums and counts run over the whole batch, which under jit is the global one; the published codebases average a device's
pixels, then the devices.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int

from samjax.core.errors import UserError
from samjax.core.ranges import CountOrNone, Range, config_class

_Weight = Annotated[float, Range(at_least=0, why="it weighs a loss")]


@config_class("loss")
class PixelLossConfig:
    """The loss of semantic segmentation."""

    class_weights: tuple[_Weight, ...] = ()
    """Of each class's pixels; empty weighs all alike."""
    hard_threshold: Annotated[float, Range(at_least=0, at_most=1, why="it is a probability, and 0 is off")] = 0.0
    """Online hard example mining: only pixels count whose own class has a lower probability; 0 counts all."""
    least_hard: CountOrNone = 100_000
    """With `hard_threshold`: how many pixels of a batch count at least, those of the lowest probability."""
    auxiliary_weight: _Weight = 0.4
    """Of the cross-entropy of each auxiliary head."""

    def check_classes(self, classes: int) -> None:
        """Refuse weights of another number of classes.

        Raises:
          UserError: they are.
        """
        if self.class_weights and len(self.class_weights) != classes:
            raise UserError(
                f"loss.class_weights has {len(self.class_weights)} numbers, but the model has {classes} classes: give "
                "one for each"
            )
        if self.class_weights and not any(self.class_weights):
            raise UserError("loss.class_weights are all 0: nothing would be learnt")


def pixel_losses(
    logits: Float[Array, "b h w classes"], labels: Int[Array, "b h w"], counted: Bool[Array, "b h w"]
) -> Float32[Array, "b h w"]:
    """Return each pixel's cross-entropy, 0 where it does not count."""
    logits = logits.astype(jnp.float32)
    target = jnp.where(counted, labels, 0).astype(jnp.int32)
    own = jnp.take_along_axis(logits, target[..., None], axis=-1)[..., 0]
    return jnp.where(counted, jax.nn.logsumexp(logits, axis=-1) - own, 0.0)


def pixel_cross_entropy(
    logits: Float[Array, "b h w classes"],
    labels: Int[Array, "b h w"],
    counted: Bool[Array, "b h w"],
    config: PixelLossConfig,
) -> Float32[Array, ""]:
    """Return the mean cross-entropy of the pixels that count; 0 where none does.

    With class weights it is divided by the sum of the counted pixels' weights, as PyTorch does it.
    """
    losses = pixel_losses(logits, labels, counted)
    weights = counted.astype(jnp.float32)
    if config.hard_threshold:
        weights = jax.lax.stop_gradient(_hard(losses, counted, config)).astype(jnp.float32)
    if config.class_weights:
        table = jnp.asarray(config.class_weights, jnp.float32)
        weights = weights * table[jnp.where(counted, labels, 0).astype(jnp.int32)]
    return jnp.sum(losses * weights) / jnp.maximum(jnp.sum(weights), 1e-12)


def _hard(
    losses: Float32[Array, "b h w"], counted: Bool[Array, "b h w"], config: PixelLossConfig
) -> Bool[Array, "b h w"]:
    """Return the counted pixels whose probability is at most the threshold, or the `least_hard` hardest."""
    hardness = jnp.where(counted, losses, -1.0).ravel()  # the loss is -log of the probability
    limit = jnp.asarray(-jnp.log(config.hard_threshold), jnp.float32)
    if 0 < config.least_hard < hardness.size:
        limit = jnp.minimum(limit, jax.lax.top_k(hardness, config.least_hard)[0][-1])
    elif config.least_hard:
        limit = jnp.float32(-1.0)
    return counted & (losses >= limit)
