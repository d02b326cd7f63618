"""What goes into the mask decoder and what comes out of it.

Axis letters, fixed once: b images, m masks (one prompted object each), p prompt slots of a mask, k mask tokens,
h w space. Coordinates are (x, y) pixels of the model's input frame; sizes are (height, width).
"""

import dataclasses
import enum

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from samjax.core.struct import struct


class PointLabel(enum.IntEnum):
    """The kind of point in a prompt slot; numbers as in the released code."""

    NOT_A_POINT = -1
    BACKGROUND = 0
    FOREGROUND = 1
    BOX_MIN = 2
    BOX_MAX = 3


BOX_CORNERS = (int(PointLabel.BOX_MIN), int(PointLabel.BOX_MAX))
"""Labels of the two slots of a box."""


@struct
class Prompts:
    """Prompts of m masks in each of b images.

    A point takes one slot, a box two (its corners, BOX_MIN and BOX_MAX). A mask prompted without a box carries one
    NOT_A_POINT slot, whose coordinates are ignored. `valid` is False in padding slots: they must not change any output.
    `mask_logits` is the dense prompt, at four times the image embedding's resolution, ignored where `has_mask` is
    False.
    """

    coords: Float[Array, "b m p 2"]
    labels: Int[Array, "b m p"]
    valid: Bool[Array, "b m p"]
    mask_logits: Float[Array, "b m h w"]
    has_mask: Bool[Array, "b m"]

    @classmethod
    def without_masks(
        cls, *, coords: Float[Array, "b m p 2"], labels: Int[Array, "b m p"], logits_size: tuple[int, int]
    ) -> "Prompts":
        """Return prompts made of these slots, all valid (see `point_slots` and `box_slots`), without a mask prompt.

        `logits_size` is the (height, width) that a mask prompt would have.
        """
        objects = labels.shape[:2]
        return cls(
            coords=coords,
            labels=labels,
            valid=jnp.ones(labels.shape, bool),
            mask_logits=jnp.zeros((*objects, *logits_size), jnp.float32),
            has_mask=jnp.zeros(objects, bool),
        )

    def pad_to(self, slots: int) -> "Prompts":
        """Return the same prompts padded to `slots` slots per mask; the new ones are not valid."""
        extra = slots - self.labels.shape[-1]
        if extra < 0:
            raise ValueError(f"prompts have {self.labels.shape[-1]} slots; cannot pad them to {slots}")
        return dataclasses.replace(
            self,
            coords=jnp.pad(self.coords, ((0, 0), (0, 0), (0, extra), (0, 0))),
            labels=jnp.pad(self.labels, ((0, 0), (0, 0), (0, extra)), constant_values=int(PointLabel.NOT_A_POINT)),
            valid=jnp.pad(self.valid, ((0, 0), (0, 0), (0, extra))),
        )


def point_slots(
    coords: Float[Array, "*n p 2"], labels: Int[Array, "*n p"]
) -> tuple[Float[Array, "*n slots 2"], Int[Array, "*n slots"]]:
    """Return coordinates and labels of the p + 1 slots of p points without a box: the points, and one NOT_A_POINT.

    The NOT_A_POINT stands for the missing box, as in training.
    """
    lead = ((0, 0),) * (labels.ndim - 1)
    return (
        jnp.pad(coords, (*lead, (0, 1), (0, 0))),
        jnp.pad(labels, (*lead, (0, 1)), constant_values=int(PointLabel.NOT_A_POINT)),
    )


def box_slots(boxes: Float[Array, "*n 4"]) -> tuple[Float[Array, "*n 2 2"], Int[Array, "*n 2"]]:
    """Return coordinates and labels of the two slots of each box (x0, y0, x1, y1): its corners.

    Points on the same object are slots beside these, without a NOT_A_POINT.
    """
    lead = boxes.shape[:-1]
    return boxes.reshape(*lead, 2, 2), jnp.broadcast_to(jnp.array(BOX_CORNERS, jnp.int32), (*lead, 2))


@struct
class MaskOutput:
    """The mask decoder's answer for each prompted object.

    Token 0 is the mask to use when more than one prompt was given; tokens 1 to 3 are the candidates for a single,
    ambiguous prompt (Segment Anything, section 3 and appendix A). `logits` are at four times the image embedding's
    resolution, positive inside; `iou` is the model's own estimate of each mask's IoU.
    """

    logits: Float[Array, "b m k h w"]
    iou: Float[Array, "b m k"]

    def single(self) -> "MaskOutput":
        """Return token 0 alone, k = 1."""
        return MaskOutput(logits=self.logits[:, :, :1], iou=self.iou[:, :, :1])

    def candidates(self) -> "MaskOutput":
        """Return tokens 1 to 3, k = 3."""
        return MaskOutput(logits=self.logits[:, :, 1:], iou=self.iou[:, :, 1:])

    def take(self, index: Int[Array, "b m"]) -> "MaskOutput":
        """Return mask number `index` of each object, k = 1."""
        return MaskOutput(
            logits=jnp.take_along_axis(self.logits, index[:, :, None, None, None], axis=2),
            iou=jnp.take_along_axis(self.iou, index[:, :, None], axis=2),
        )
