"""The training loss of Segment Anything: each round of an interaction, and their sum over a batch."""

import enum
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int

from samjax.core.errors import UserError
from samjax.core.prompts import MaskOutput
from samjax.core.ranges import Pixels, Range, config_class
from samjax.core.struct import struct
from samjax.losses.dice import dice_loss
from samjax.losses.focal import focal_loss
from samjax.losses.iou import iou_loss, mask_iou

_Weight = Annotated[float, Range(at_least=0, why="below 0 the term would be maximised")]


class Candidates(enum.Enum):
    """Which of the several masks that answer an ambiguous prompt are trained."""

    BEST = "best"
    """The one with the lowest loss alone."""
    EVERY = "every"
    """All of them, on average."""


@config_class("loss")
class LossConfig:
    """Weights of the terms are the paper's (appendix A); alpha, gamma and smoothing, on which it is silent, SAM 2's."""

    focal_weight: _Weight = 20.0
    """Weight of the focal loss."""
    dice_weight: _Weight = 1.0
    """Weight of the dice loss."""
    iou_weight: _Weight = 1.0
    """Weight of the squared error of the predicted IoU."""
    masks_of: Candidates = Candidates.BEST
    """Which candidates' masks are trained: the best alone, as in the paper, so that they can be a part, an object and
    several; or every one, for objects without parts, where to choose among three different masks is a needless risk."""
    iou_of: Candidates = Candidates.BEST
    """Whose predicted IoU is trained: the best candidate's, as in the paper, or every one's, as in SAM 2, from which a
    model learns to choose among its candidates."""
    focal_alpha: Annotated[float, Range(at_least=0, at_most=1, why="background gets the rest")] = 0.25
    """Share of the focal loss's weight that foreground pixels get."""
    focal_gamma: Annotated[float, Range(at_least=0, why="below 0 easy pixels would weigh more than hard ones")] = 2.0
    """Exponent that lowers the focal loss of pixels that are already right."""
    dice_smoothing: Annotated[float, Range(above=0, why="the loss of an empty mask would be 0 / 0")] = 1.0
    """Added to both sides of the dice loss's fraction."""
    loss_size: Pixels = 256
    """Longest side of the frame the losses are computed at, in pixels; at most the model's input size."""

    def __post_init__(self):
        if not self.focal_weight + self.dice_weight > 0:
            raise UserError("loss.focal_weight and loss.dice_weight are both 0: no mask would be learned; raise one")


@struct
class RoundLoss:
    """One round's loss for each mask, of those of its outputs that are trained.

    `focal`, `dice` and `iou_mse` are without their weights; `iou` is the true IoU of the best output. Rounds are
    stacked along the leading axis.
    """

    focal: Float32[Array, "*rounds b m"]
    dice: Float32[Array, "*rounds b m"]
    iou_mse: Float32[Array, "*rounds b m"]
    iou: Float32[Array, "*rounds b m"]


def loss_resolution(image_size: tuple[int, int], loss_size: int) -> tuple[int, int]:
    """Return the (height, width) of the frame whose longest side is `loss_size`, never above `image_size`."""
    longest = max(image_size)
    height, width = (max(1, round(side * min(loss_size, longest) / longest)) for side in image_size)
    return height, width


def loss_target(masks: Bool[Array, "b m image_h image_w"], loss_size: int) -> Bool[Array, "b m h w"]:
    """Return the masks at the loss resolution, each pixel the one under its centre."""
    height, width = loss_resolution((masks.shape[-2], masks.shape[-1]), loss_size)
    return _sample(_sample(masks, size=height, axis=2), size=width, axis=3)


def loss_pixels(valid_size: Int[Array, "b 2"], *, image_size: tuple[int, int], loss_size: int) -> Bool[Array, "b h w"]:
    """Return which pixels of the loss resolution are photo: those whose centre, as in `loss_target`, is not padding."""
    height, width = loss_resolution(image_size, loss_size)
    rows = jnp.asarray(_positions(image_size[0], height))[:, None] < valid_size[:, 0, None, None]
    columns = jnp.asarray(_positions(image_size[1], width))[None, :] < valid_size[:, 1, None, None]
    return rows & columns


def round_loss(
    output: MaskOutput, target: Bool[Array, "b m h w"], pixel_weight: Bool[Array, "b h w"], config: LossConfig
) -> RoundLoss:
    """Return the loss of one round's masks against the target, in float32.

    Logits are brought to the target's resolution bilinearly, as by `prompting.error_region.upscale` up to rounding. Of
    several masks (k > 1) only the one with the lowest weighted focal + dice is back-propagated (Segment Anything,
    section 3), and its IoU alone is supervised; or every one, see `LossConfig`.

    Args:
      output: the round's k masks.
      target: ground truth, as `loss_target` gives it.
      pixel_weight: the pixels that count, as `loss_pixels` gives them.
      config: see `LossConfig`.
    """
    logits = output.logits.astype(jnp.float32)
    shape = (*logits.shape[:3], *target.shape[-2:])
    if logits.shape != shape:
        logits = jax.image.resize(logits, shape, jax.image.ResizeMethod.LINEAR, antialias=False)

    target, pixel_weight = target[:, :, None], pixel_weight[:, None, None]
    focal = focal_loss(logits, target, pixel_weight, alpha=config.focal_alpha, gamma=config.focal_gamma)
    dice = dice_loss(logits, target, pixel_weight, smoothing=config.dice_smoothing)
    iou = mask_iou(logits, target, pixel_weight)
    iou_mse = iou_loss(output.iou, iou)
    best = jnp.argmin(config.focal_weight * focal + config.dice_weight * dice, axis=-1)[..., None]

    def of(term: Float32[Array, "b m k"], which: Candidates) -> Float32[Array, "b m"]:
        if which is Candidates.EVERY:
            return jnp.mean(term, axis=-1)
        return jnp.take_along_axis(term, best, axis=-1)[..., 0]

    return RoundLoss(
        focal=of(focal, config.masks_of),
        dice=of(dice, config.masks_of),
        iou_mse=of(iou_mse, config.iou_of),
        iou=of(iou, Candidates.BEST),
    )


def sam_loss(
    rounds: RoundLoss, mask_valid: Bool[Array, "b m"], config: LossConfig
) -> tuple[Float32[Array, ""], dict[str, Float32[Array, ""]]]:
    """Return the loss to optimise, and metrics to log.

    The loss is the weighted sum of the terms, summed over rounds and divided by the number of valid masks, at least 1.
    Under jit with a batch sharded over devices that is the number in the global batch: every mask weighs the same
    wherever it lies. Invalid slots are excluded, whatever they hold, NaN included.

    Metrics: `loss`, exactly the number optimised; `focal`, `dice`, `iou_mse`, the terms without their weights, averaged
    over rounds and valid masks, so that loss = rounds * (focal_weight * focal + dice_weight * dice + iou_weight *
    iou_mse); `miou`, the mean true IoU of the last round's masks.
    """
    count = mask_count(mask_valid)

    def per_mask(term: Float32[Array, "*rounds b m"]) -> Float32[Array, ""]:
        return _total(term, mask_valid) / count

    focal, dice, iou_mse = (per_mask(term) for term in (rounds.focal, rounds.dice, rounds.iou_mse))
    loss = _weigh(focal, dice, iou_mse, config)
    number_of_rounds = rounds.iou.shape[0]
    metrics = {
        "loss": loss,
        "focal": focal / number_of_rounds,
        "dice": dice / number_of_rounds,
        "iou_mse": iou_mse / number_of_rounds,
        "miou": per_mask(rounds.iou[-1]),
    }
    return loss, metrics


def summed_loss(rounds: RoundLoss, mask_valid: Bool[Array, "b m"], config: LossConfig) -> Float32[Array, ""]:
    """Return the loss of `sam_loss` times the number of valid masks: for a part of a batch, to be added up."""
    focal, dice, iou_mse = (_total(term, mask_valid) for term in (rounds.focal, rounds.dice, rounds.iou_mse))
    return _weigh(focal, dice, iou_mse, config)


def _total(term: Float32[Array, "*rounds b m"], mask_valid: Bool[Array, "b m"]) -> Float32[Array, ""]:
    return jnp.sum(jnp.where(mask_valid, term, 0.0))


def _weigh(
    focal: Float32[Array, ""], dice: Float32[Array, ""], iou_mse: Float32[Array, ""], config: LossConfig
) -> Float32[Array, ""]:
    return config.focal_weight * focal + config.dice_weight * dice + config.iou_weight * iou_mse


def mask_count(mask_valid: Bool[Array, "b m"]) -> Int[Array, ""]:
    """Return the number that a batch's loss is divided by: of its valid masks, at least 1."""
    return jnp.maximum(jnp.sum(mask_valid, dtype=jnp.int32), 1)


def _positions(size: int, samples: int) -> np.ndarray:
    """Return the pixel under the centre of each of `samples` equal parts of `size` pixels."""
    return (2 * np.arange(samples) + 1) * size // (2 * samples)


def _sample(masks: Bool[Array, "*n"], *, size: int, axis: int) -> Bool[Array, "*m"]:
    length = masks.shape[axis]
    if length % size:
        return jnp.take(masks, _positions(length, size), axis=axis)
    step = length // size  # a strided slice, where a gather would be slow
    return jax.lax.slice_in_dim(masks, step // 2, None, step, axis)
