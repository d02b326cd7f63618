"""The loss of relative depth: of inverse depth up to scale and shift, trimmed, and of its edges.

MiDaS's (Ranftl et al. 2020, Towards Robust Monocular Depth Estimation), with which DPT was trained too.
"""

from typing import Annotated

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Float32, Int

from samjax.core.ranges import Count, Range, config_class

_Trim = Annotated[float, Range(at_least=0, below=1, why="it is the share of pixels that is left out")]
_Weight = Annotated[float, Range(at_least=0, why="below 0 edges would be made to differ")]

LEAST_SCALE = 1e-6
"""A flatter map is divided by this, so that a constant one has a loss and a gradient."""


@config_class("loss")
class DepthLossConfig:
    """How inverse depths are compared. The defaults are the paper's."""

    trim: _Trim = 0.2
    """Share of a photo's pixels, those with the largest errors, that is left out: labels of any data set are wrong
    somewhere."""
    edge_weight: _Weight = 0.5
    """Weight of the errors' gradients, alpha."""
    scales: Count = 4
    """Resolutions at which those are taken, each half of the one before."""


def depth_loss(
    prediction: Float[Array, "b h w"],
    target: Float[Array, "b h w"],
    valid: Bool[Array, "b h w"],
    config: DepthLossConfig,
) -> tuple[Float32[Array, ""], dict[str, Float32[Array, ""]]]:
    """Return the loss to optimise, and metrics to log; means over the photos that have a valid pixel.

    Args:
      prediction: inverse depth, of any scale and shift.
      target: the same; a positive multiple of it, shifted, gives the same loss.
      valid: pixels whose target is known; others count for nothing, whatever they hold.
      config: see `DepthLossConfig`.

    Metrics: `loss`, exactly the number optimised; `trimmed` and `edges`, its terms without their weight.
    """
    ours, theirs = centre(prediction, valid), centre(target, valid)
    error = jnp.where(valid, ours - theirs, 0.0)
    trimmed, edges = trimmed_error(error, valid, trim=config.trim), edge_error(error, valid, scales=config.scales)
    photos = jnp.maximum(jnp.sum(jnp.any(valid, axis=(1, 2))), 1)
    trimmed, edges = jnp.sum(trimmed) / photos, jnp.sum(edges) / photos
    loss = trimmed + config.edge_weight * edges
    return loss, {"loss": loss, "trimmed": trimmed, "edges": edges}


def centre(maps: Float[Array, "b h w"], valid: Bool[Array, "b h w"]) -> Float32[Array, "b h w"]:
    """Return each map with a median of 0 and a mean absolute value of 1 over its valid pixels.

    Other pixels are 0. Of an even number the median is the lower of the two in the middle. A map without a valid pixel
    is 0 everywhere.
    """
    count, maps = _count(valid), maps.astype(jnp.float32)
    order = jnp.sort(jnp.where(valid, maps, jnp.inf).reshape(len(maps), -1), axis=1)
    middle = jnp.maximum(count - 1, 0)[:, None] // 2
    median = jnp.where(count > 0, jnp.take_along_axis(order, middle, axis=1)[:, 0], 0.0)
    values = jnp.where(valid, maps - median[:, None, None], 0.0)
    scale = jnp.sum(jnp.abs(values), axis=(1, 2)) / jnp.maximum(count, 1)
    return values / jnp.maximum(scale, LEAST_SCALE)[:, None, None]


def trimmed_error(error: Float32[Array, "b h w"], valid: Bool[Array, "b h w"], *, trim: float) -> Float32[Array, "b"]:
    """Return half the sum of each photo's smallest absolute errors over the number of its valid pixels.

    Of its valid pixels a share of 1 - `trim`, rounded down, is summed.
    """
    count = _count(valid)
    order = jnp.sort(jnp.where(valid, jnp.abs(error), jnp.inf).reshape(len(error), -1), axis=1)
    kept = jnp.floor(count * (1.0 - trim) + 1e-4)  # a product that should be whole may be a little less
    smallest = jnp.where(jnp.arange(order.shape[1]) < kept[:, None], order, 0.0)
    return jnp.sum(smallest, axis=1) / (2 * jnp.maximum(count, 1))


def edge_error(error: Float32[Array, "b h w"], valid: Bool[Array, "b h w"], *, scales: int) -> Float32[Array, "b"]:
    """Return the sum, over resolutions, of the errors' absolute differences between neighbours for each valid pixel.

    Differences are between valid pixels next to each other in a row or a column; a resolution is all rows and columns,
    or every second, fourth or eighth (Li and Snavely 2018).
    """
    total = jnp.zeros(len(error))
    for scale in range(scales):
        part, known = (maps[:, :: 2**scale, :: 2**scale] for maps in (error, valid))
        across = jnp.where(known[:, :, 1:] & known[:, :, :-1], jnp.abs(part[:, :, 1:] - part[:, :, :-1]), 0.0)
        down = jnp.where(known[:, 1:] & known[:, :-1], jnp.abs(part[:, 1:] - part[:, :-1]), 0.0)
        differences = jnp.sum(across, axis=(1, 2)) + jnp.sum(down, axis=(1, 2))
        total = total + differences / jnp.maximum(_count(known), 1)
    return total


def _count(valid: Bool[Array, "b h w"]) -> Int[Array, "b"]:
    return jnp.sum(valid, axis=(1, 2), dtype=jnp.int32)
