"""Cross-entropy over pixels, with ignored ones, class weights and online hard example mining (Shrivastava et al. 2016).

Sums and counts run over the whole batch, which under jit is the global one; the published codebases average a device's
pixels, then the devices.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
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
    # Not by an index: its gradient is a scatter, and a CPU turns the logits around for it.
    is_own = jnp.arange(logits.shape[-1]) == target[..., None]
    own = jnp.where(is_own, logits, 0.0).sum(axis=-1)
    return jnp.where(counted, jax.nn.logsumexp(logits, axis=-1) - own, 0.0)


def enlarged_pixel_losses(
    logits: Float[Array, "b gh gw classes"],
    labels: Int[Array, "b h w"],
    counted: Bool[Array, "b h w"],
    *,
    rows: Float32[np.ndarray, "h gh"],
    columns: Float32[np.ndarray, "w gw"],
) -> Float32[Array, "b h w"]:
    """Return `pixel_losses` of logits enlarged by two matrices, some rows at a time.

    Enlarged logits of 150 classes are the largest array of a training step by far; they are never whole here, and the
    backward pass makes them again. A block of rows is made of the few rows of logits that it has weights of.
    """
    height, width = labels.shape[1:]
    count = min(_BLOCKS, height)
    size = -(-height // count)
    of_blocks = np.pad(rows, ((0, size * count - height), (0, 0))).reshape(count, size, -1)
    seen, of_blocks = _rows_seen(of_blocks)
    # Rows lead: then each enlargement is one matrix product, without a transposition.
    windows = jnp.moveaxis(logits.astype(jnp.float32), 1, 0)[seen]

    def blocks(pixels: Array) -> Array:
        """Return the rows of pixels in blocks, the last filled up with zeros."""
        filled = jnp.pad(jnp.moveaxis(pixels, 1, 0), ((0, size * count - height), (0, 0), (0, 0)))
        return filled.reshape(count, size, *filled.shape[1:])

    @jax.checkpoint
    def of_block(block: tuple[Array, Array, Array, Array]) -> Array:
        of_rows, window, own_labels, own_counted = block
        wide = jnp.einsum("wv,hbvc->hbwc", columns, window)
        return pixel_losses(jnp.einsum("rh,hbwc->rbwc", of_rows, wide), own_labels, own_counted)

    found = jax.lax.map(of_block, (jnp.asarray(of_blocks), windows, blocks(labels), blocks(counted)))
    return jnp.moveaxis(found.reshape(size * count, len(labels), width)[:height], 0, 1)


def _rows_seen(
    matrices: Float32[np.ndarray, "n h gh"],
) -> tuple[Int[np.ndarray, "n window"], Float32[np.ndarray, "n h window"]]:
    """Return which rows of a grid each of n matrices has weights of, a window of one length, and the matrices of these
    alone."""
    weighs = (matrices != 0).any(axis=1)
    rows = matrices.shape[2]
    first = np.where(weighs.any(axis=1), weighs.argmax(axis=1), 0)
    last = rows - weighs[:, ::-1].argmax(axis=1)
    length = int(np.where(weighs.any(axis=1), last - first, 1).max())
    seen = np.minimum(first, rows - length)[:, None] + np.arange(length)
    return seen, np.take_along_axis(matrices, seen[:, None], axis=2)


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
