"""The vocabulary every package shares: what a batch, a prompt and a prediction are.

Axis letters, fixed once: b images, m masks (one prompted object each), p prompt slots of a mask, k mask tokens,
h w space, c channels, d embedding. Coordinates are (x, y) pixels of the model's input frame; sizes are (height, width).
"""

import dataclasses
import enum
from typing import TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def struct(cls: type[T]) -> type[T]:
    """Make `cls` a frozen keyword-only dataclass and a JAX pytree whose leaves are its fields.

    JAX rebuilds pytrees with leaves that are not arrays (shardings, shapes, sentinels), so unflattening bypasses
    `__init__`, where the tests' shape checks live.
    """
    cls = dataclasses.dataclass(frozen=True, kw_only=True)(cls)
    names = tuple(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]

    def flatten_with_keys(node):
        return tuple((jax.tree_util.GetAttrKey(name), getattr(node, name)) for name in names), None

    def flatten(node):
        return tuple(getattr(node, name) for name in names), None

    def unflatten(_, children):
        node = object.__new__(cls)
        for name, child in zip(names, children, strict=True):
            object.__setattr__(node, name, child)
        return node

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


@struct
class Batch:
    """Photos with the masks to learn, at fixed shapes.

    A photo is scaled so that it fits the model's frame and sits in its top-left corner; `valid_size` is the part it
    covers. Masks are at the same resolution, packed eight pixels a byte along the width (`numpy.packbits` order):
    `unpack_masks` undoes it on device. Slots of `masks` with `mask_valid` False hold zeros and count for nothing.
    """

    image: UInt8[Array, "b h w 3"]
    valid_size: Int[Array, "b 2"]
    masks: UInt8[Array, "b m h packed_w"]
    mask_valid: Bool[Array, "b m"]
    record_id: Int[Array, "b"]


def unpack_masks(packed: UInt8[Array, "*n h packed_w"], width: int) -> Bool[Array, "*n h w"]:
    """Return the boolean masks of a `Batch`, `width` pixels wide, from their packed bytes."""
    return jnp.unpackbits(packed, axis=-1, count=width).astype(bool)


def valid_pixels(valid_size: Int[Array, "b 2"], size: tuple[int, int]) -> Bool[Array, "b h w"]:
    """Return which pixels of a `size` = (h, w) frame are photo, not padding."""
    rows = jnp.arange(size[0])[:, None] < valid_size[:, 0, None, None]
    columns = jnp.arange(size[1])[None, :] < valid_size[:, 1, None, None]
    return rows & columns


class PointLabel(enum.IntEnum):
    """What a prompt slot says about its point; the released code's numbers."""

    NOT_A_POINT = -1
    BACKGROUND = 0
    FOREGROUND = 1
    BOX_MIN = 2
    BOX_MAX = 3


@struct
class Prompts:
    """Prompts of m masks in each of b images.

    A point takes one slot, a box two (its corners, BOX_MIN and BOX_MAX). A mask prompted without a box carries one
    NOT_A_POINT slot, whose coordinates are ignored. `valid` is False in slots that are not there at all: they must
    change nothing. `mask_logits` is the dense prompt, at four times the image embedding's resolution, ignored where
    `has_mask` is False.
    """

    coords: Float[Array, "b m p 2"]
    labels: Int[Array, "b m p"]
    valid: Bool[Array, "b m p"]
    mask_logits: Float[Array, "b m h w"]
    has_mask: Bool[Array, "b m"]

    def pad_to(self, slots: int) -> "Prompts":
        """Return the same prompts in `slots` slots a mask, the new ones not valid."""
        extra = slots - self.labels.shape[-1]
        if extra < 0:
            raise ValueError(f"prompts have {self.labels.shape[-1]} slots; cannot pad them to {slots}")
        return dataclasses.replace(
            self,
            coords=jnp.pad(self.coords, ((0, 0), (0, 0), (0, extra), (0, 0))),
            labels=jnp.pad(self.labels, ((0, 0), (0, 0), (0, extra)), constant_values=int(PointLabel.NOT_A_POINT)),
            valid=jnp.pad(self.valid, ((0, 0), (0, 0), (0, extra))),
        )


@struct
class MaskOutput:
    """What the mask decoder says of each prompted object.

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
        """Return the mask `index` names for each object, k = 1."""
        return MaskOutput(
            logits=jnp.take_along_axis(self.logits, index[:, :, None, None, None], axis=2),
            iou=jnp.take_along_axis(self.iou, index[:, :, None], axis=2),
        )
