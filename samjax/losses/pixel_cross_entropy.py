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

_BLOCKS = 8
"""Blocks of rows whose enlarged logits are in memory one after another."""
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


def enlarged_pixel_losses(
    logits: Float[Array, "b gh gw classes"],
    labels: Int[Array, "b h w"],
    counted: Bool[Array, "b h w"],
    *,
    rows: Float[Array, "h gh"],
    columns: Float[Array, "w gw"],
) -> Float32[Array, "b h w"]:
    """Return `pixel_losses` of logits enlarged by two matrices, some rows at a time.

    Enlarged logits of 150 classes are the largest array of a training step by far; they are never whole here, and the
    backward pass makes them again.
    """
    height, width = labels.shape[1:]
    wide = jnp.einsum("wv,bhvc->bhwc", columns, logits.astype(jnp.float32))
    count = min(_BLOCKS, height)
    size = -(-height // count)

    def blocks(array: Array, axis: int) -> Array:
        """Return the rows of an array in blocks along a new first axis, the last filled up with zeros."""
        spare = [(0, 0)] * array.ndim
        spare[axis] = (0, size * count - height)
        apart = jnp.pad(array, spare).reshape(*array.shape[:axis], count, size, *array.shape[axis + 1 :])
        return jnp.moveaxis(apart, axis, 0)

    @jax.checkpoint
    def of_block(block: tuple[Array, Array, Array]) -> Array:
        of_rows, own_labels, own_counted = block
        return pixel_losses(jnp.einsum("rh,bhwc->brwc", of_rows, wide), own_labels, own_counted)

    found = jax.lax.map(of_block, (blocks(rows, 0), blocks(labels, 1), blocks(counted, 1)))
    return jnp.moveaxis(found, 0, 1).reshape(len(labels), size * count, width)[:, :height]


def mean_pixel_loss(
    losses: Float32[Array, "b h w"],
    labels: Int[Array, "b h w"],
    counted: Bool[Array, "b h w"],
    config: PixelLossConfig,
) -> Float32[Array, ""]:
    """Return the mean of the losses of the pixels that count; 0 where none does.

    With class weights it is divided by the sum of the counted pixels' weights, as PyTorch does it.
    """
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
