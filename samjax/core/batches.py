"""What one training step sees, a struct a task, at fixed shapes.

Axis letters, fixed once: b images, m masks (one prompted object each), h w space.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float32, Int, UInt8

from samjax.core.struct import struct


@struct
class Batch:
    """Photos with the masks to learn, at fixed shapes.

    A photo is scaled to fit the model's frame and sits in its top-left corner; `valid_size` is the part it covers.
    Masks have the same resolution, packed eight pixels per byte along the width (`numpy.packbits` order);
    `unpack_masks` unpacks them on device. Slots of `masks` with `mask_valid` False hold zeros and are ignored.

    Where a run reads its photos' embeddings from a cache, `embedding` holds them, and `image` is None in training.
    """

    image: UInt8[Array, "b h w 3"] | None = None
    valid_size: Int[Array, "b 2"]
    masks: UInt8[Array, "b m h packed_w"]
    mask_valid: Bool[Array, "b m"]
    record_id: Int[Array, "b"]
    embedding: Float32[Array, "b gh gw c"] | None = None


@struct
class PhotoBatch:
    """Photos alone, each filling its frame. Rows whose `record_id` is -1 hold no photo and count for nothing."""

    image: UInt8[Array, "b h w 3"]
    record_id: Int[Array, "b"]


@struct
class SegmentBatch:
    """Photos with the class of every pixel.

    A photo's view sits in the top-left corner of its frame; `valid_size` is the part it covers, 0 x 0 in rows that hold
    no photo, whose `record_id` is -1. A pixel counts within this part, where its label is not -1: see `counted_pixels`.
    """

    image: UInt8[Array, "b h w 3"]
    valid_size: Int[Array, "b 2"]
    labels: Int[Array, "b h w"]
    record_id: Int[Array, "b"]


NO_SEGMENT = -1
"""The segment of pixels that belong to none, and the class of slots that hold none."""


@struct
class SegmentSetBatch:
    """Photos with their segments, none over another; at most t of each photo.

    `image`, `valid_size` and `record_id` are as in `SegmentBatch`.
    """

    image: UInt8[Array, "b h w 3"]
    valid_size: Int[Array, "b 2"]
    segment_map: Int[Array, "b h w"]
    """Which segment each pixel belongs to, from 0, or `NO_SEGMENT`."""
    classes: Int[Array, "b t"]
    """Of each segment, or `NO_SEGMENT`."""
    record_id: Int[Array, "b"]


@struct
class DepthBatch:
    """Photos with the inverse depth of their pixels, in 1 / metres or of any scale and shift, 0 where it is unknown.

    `image`, `valid_size` and `record_id` are as in `SegmentBatch`. A pixel counts where its inverse depth is known: see
    `known_pixels`.
    """

    image: UInt8[Array, "b h w 3"]
    valid_size: Int[Array, "b 2"]
    inverse_depth: Float32[Array, "b h w"]
    record_id: Int[Array, "b"]


def unpack_masks(packed: UInt8[Array, "*n h packed_w"], width: int) -> Bool[Array, "*n h w"]:
    """Return the boolean masks of a `Batch`, `width` pixels wide, from their packed bytes."""
    return jnp.unpackbits(packed, axis=-1, count=width).astype(bool)


def valid_pixels(valid_size: Int[Array, "b 2"], size: tuple[int, int]) -> Bool[Array, "b h w"]:
    """Return which pixels of a `size` = (h, w) frame are photo, not padding."""
    rows = jnp.arange(size[0])[:, None] < valid_size[:, 0, None, None]
    columns = jnp.arange(size[1])[None, :] < valid_size[:, 1, None, None]
    return rows & columns


def counted_pixels(batch: SegmentBatch) -> Bool[Array, "b h w"]:
    """Return which pixels have a class."""
    return valid_pixels(batch.valid_size, (batch.labels.shape[1], batch.labels.shape[2])) & (batch.labels >= 0)


def known_pixels(batch: DepthBatch) -> Bool[Array, "b h w"]:
    """Return which pixels have a depth."""
    height, width = batch.inverse_depth.shape[1:]
    return valid_pixels(batch.valid_size, (height, width)) & (batch.inverse_depth > 0)
