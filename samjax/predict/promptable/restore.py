"""Predicted masks back at the photo's size.

The published way is two bilinear steps, from the decoder's resolution to the model's frame and, of the part that the
photo covers, to the photo's size. Both are linear and act on each axis apart, so an axis is one step: a pixel of the
photo is a sum of at most three neighbouring logits, and the frame in between is never made. Where masks are wanted in
the frame itself, `prompting.error_region.upscale` makes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int32, UInt8

from samjax.core.struct import struct

_BUCKET = 256
"""Photo sides are rounded up to multiples of this, so that photos of many sizes share a few programs."""


@dataclass(frozen=True, kw_only=True)
class Taps:
    """What each of n pixels along an axis is made of: the logits at `index`, times `weight`."""

    index: Int32[np.ndarray, "n 3"]
    weight: Float32[np.ndarray, "n 3"]

    def matrix(self, low: int) -> Float32[np.ndarray, "low n"]:
        """Return the same as a matrix, to be multiplied by `low` logits from the left."""
        matrix = np.zeros((low, len(self.index)), np.float32)
        np.add.at(matrix, (self.index, np.arange(len(self.index))[:, None]), self.weight)
        return matrix


def axis_taps(*, low: int, frame: int, fitted: int, photo: int, pixels: int | None = None) -> Taps:
    """Return how `photo` pixels along an axis are made of `low` logits, which cover a `frame` of pixels.

    Args:
      fitted: pixels of the frame that the photo covers.
      pixels: length of the result; beyond the photo everything is 0. Default: `photo`.

    Raises:
      ValueError: the frame has fewer pixels than there are logits; three neighbours would not do.
    """
    if frame < low:
        raise ValueError(f"a frame of {frame} pixels has fewer than the {low} logits that cover it")
    in_frame, second = _neighbours(source=fitted, target=photo)
    in_low, first = _neighbours(source=low, target=frame)
    base = in_low[in_frame[:, 0], 0]
    weight = np.zeros((pixels or photo, 3), np.float32)
    for side in range(2):
        for part in range(2):
            cell = in_frame[:, side]
            offset = in_low[cell, part] - base
            np.add.at(weight, (np.arange(photo), offset), second[:, side] * first[cell, part])
    index = np.zeros(weight.shape, np.int32)
    index[:photo] = np.minimum(base[:, None] + np.arange(3), low - 1)
    return Taps(index=index, weight=weight)


def _neighbours(*, source: int, target: int) -> tuple[Int32[np.ndarray, "n 2"], Float32[np.ndarray, "n 2"]]:
    """Return the two source pixels of each target pixel, and their weights, in float32 as torch computes them.

    `align_corners=False`: pixel centres are at +0.5, and what lies outside the first or last is that one's.
    """
    scale = np.float64(np.float32(source) / np.float32(target))
    place = np.maximum((scale * (np.arange(target) + 0.5) - 0.5).astype(np.float32), 0)  # rounded once: fused
    first = np.minimum(place.astype(np.int32), source - 1)
    after = (place - first).astype(np.float32)
    return (
        np.stack([first, np.minimum(first + 1, source - 1)], axis=1),
        np.stack([1 - after, after], axis=1).astype(np.float32),
    )


@struct
class Resize:
    """How logits of a photo are brought to its size, or of several photos with a leading axis.

    Rows and columns are rounded up to a multiple of `_BUCKET`; those beyond the photo get 0.
    """

    row_index: Int32[Array | np.ndarray, "*b h 3"]
    row_weight: Float32[Array | np.ndarray, "*b h 3"]
    columns: Float32[Array | np.ndarray, "*b low_w w"]

    def pad_to(self, height: int, width: int) -> "Resize":
        """Return one photo's plan for a result of this size, on the host."""
        rows, columns = height - self.row_index.shape[0], width - self.columns.shape[1]
        return Resize(
            row_index=np.pad(self.row_index, ((0, rows), (0, 0))),
            row_weight=np.pad(self.row_weight, ((0, rows), (0, 0))),
            columns=np.pad(self.columns, ((0, 0), (0, columns))),
        )


def resize_plan(
    *, low: tuple[int, int], frame: tuple[int, int], fitted: tuple[int, int], photo: tuple[int, int]
) -> Resize:
    """Return it for a `photo`, (h, w), of the size `fitted` in the model's `frame`, over `low` logits; on the host."""
    rows, columns = (
        axis_taps(low=low[axis], frame=frame[axis], fitted=fitted[axis], photo=photo[axis], pixels=bucket(photo[axis]))
        for axis in range(2)
    )
    return Resize(row_index=rows.index, row_weight=rows.weight, columns=columns.matrix(low[1]))


def resize_plans(
    photos: Sequence[tuple[int, int]],
    *,
    low: tuple[int, int],
    frame: tuple[int, int],
    fitted: Sequence[tuple[int, int]],
) -> Resize:
    """Return the plans of several photos with a leading axis, all for results of one size: the largest's."""
    plans = [
        resize_plan(low=low, frame=frame, fitted=covered, photo=photo)
        for covered, photo in zip(fitted, photos, strict=True)
    ]
    height = max(plan.row_index.shape[0] for plan in plans)
    width = max(plan.columns.shape[1] for plan in plans)
    return jax.tree.map(lambda *parts: np.stack(parts), *(plan.pad_to(height, width) for plan in plans))


def bucket(side: int) -> int:
    """Return `side` rounded up to what programs are compiled for."""
    return -(-side // _BUCKET) * _BUCKET


def to_photo(logits: Float32[Array, "low_h low_w"], plan: Resize) -> Float32[Array, "h w"]:
    """Return one mask's logits at the photo's size, zeros beyond it.

    Columns first, where there are few rows: a product with a matrix. Then rows, each of three.
    """
    wide = jnp.matmul(logits, plan.columns, precision=jax.lax.Precision.HIGHEST)
    return sum(wide[plan.row_index[:, tap]] * plan.row_weight[:, tap, None] for tap in range(3))  # type: ignore[return-value]


def packed_masks(logits: Float32[Array, "n low_h low_w"], plan: Resize) -> UInt8[Array, "n h packed_w"]:
    """Return where each mask's logits are positive at the photo's size, eight pixels a byte; one mask at a time."""
    return jax.lax.map(lambda mask: jnp.packbits(to_photo(mask, plan) > 0, axis=-1), logits)
