"""Masks at another resolution, straight from their run lengths.

A full-size bitmap is never made: the work goes with the length of the run lengths and the size of the result. A pixel
of the result is the nearest pixel of the mask, `transforms.nearest_positions`, exactly as decoding first would give.
"""

import dataclasses

import numpy as np
from jaxtyping import Int, Int64, UInt8

from samjax.data.masks import rle, rle_kernels
from samjax.data.masks.packing import nearest_positions, packed_width


@dataclasses.dataclass(frozen=True, kw_only=True)
class Painting:
    """Packed masks (`numpy.packbits` order along the width), and how many met on the way have no pixel."""

    masks: UInt8[np.ndarray, "drawn h packed_w"]
    empty: int


class MaskGrid:
    """Where masks of one size are sampled, and the frame that the samples sit in, at its top-left corner.

    Args:
      height: of the masks.
      rows: which rows to sample, in ascending order.
      columns: which columns to sample, in ascending order.
      frame: (height, width) of the result, at least (rows, columns); the rest is zeros.
      mirrored: whether the sampled columns are written from right to left.
      upside_down: whether the sampled rows are written from the lowest to the topmost.
    """

    def __init__(
        self,
        *,
        height: int,
        rows: Int[np.ndarray, "rows"],
        columns: Int[np.ndarray, "columns"],
        frame: tuple[int, int],
        mirrored: bool = False,
        upside_down: bool = False,
    ):
        if len(rows) > frame[0] or len(columns) > frame[1]:
            raise ValueError(f"{len(rows)} x {len(columns)} samples do not fit a frame of {frame[0]} x {frame[1]}")
        self._height = height
        self._columns = columns.astype(np.int64)
        self._row_at = np.searchsorted(rows, np.arange(height + 1)).astype(np.int64)
        self._rows = len(rows)
        self._frame = frame
        self._flip = len(columns) - 1 if mirrored else -1
        self._upside_down = upside_down

    @classmethod
    def to_size(
        cls, *, height: int, width: int, size: tuple[int, int], frame: tuple[int, int] | None = None
    ) -> "MaskGrid":
        """Return the grid that scales `height` x `width` masks to `size`, by default all of the frame."""
        return cls(
            height=height,
            rows=nearest_positions(source=height, target=size[0]),
            columns=nearest_positions(source=width, target=size[1]),
            frame=frame or size,
        )

    def paint(self, codes: rle.Codes, order: Int64[np.ndarray, "candidates"], *, most: int) -> Painting:
        """Return the first `most` masks of `order` that have a pixel here.

        Args:
          codes: masks that `rle.measure` accepted at this grid's size; others give undefined pixels.
          order: indices into `codes`.
          most: after that many no others are looked at.
        """
        out = np.zeros((min(most, len(order)), self._frame[0], packed_width(self._frame[1])), np.uint8)
        drawn, empty = rle_kernels.paint(
            codes.characters, codes.ends, order, self._height, self._columns, self._row_at, self._rows, self._flip, out
        )
        if self._upside_down:
            out[:drawn, : self._rows] = out[:drawn, : self._rows][:, ::-1].copy()
        return Painting(masks=out[:drawn], empty=empty)


def resample(
    counts: str | bytes, *, height: int, width: int, size: tuple[int, int]
) -> UInt8[np.ndarray, "new_h packed_w"]:
    """Return the `height` x `width` mask written in `counts` at `size`, packed.

    Raises:
      RleError: as `rle.measure`.
    """
    codes = rle.join([counts])
    rle.measure(codes, height=height, width=width)
    grid = MaskGrid.to_size(height=height, width=width, size=size)
    painted = grid.paint(codes, np.zeros(1, np.int64), most=1)
    return painted.masks[0] if len(painted.masks) else np.zeros((size[0], packed_width(size[1])), np.uint8)
