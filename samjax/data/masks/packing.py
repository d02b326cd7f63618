"""Photos and masks at the model's resolution (Segment Anything, appendix A: longest side scaled, then zero-padded)."""

import numpy as np
from jaxtyping import Bool, Int, UInt8


def fitted_size(*, height: int, width: int, frame: tuple[int, int]) -> tuple[int, int]:
    """Return the size of a `height` x `width` photo scaled so that it just fits `frame` = (h, w).

    Sides are rounded as `int(x + 0.5)` and are at least one pixel.
    """
    scale = min(frame[0] / height, frame[1] / width)
    fitted = (int(height * scale + 0.5), int(width * scale + 0.5))
    return min(max(fitted[0], 1), frame[0]), min(max(fitted[1], 1), frame[1])


def nearest_positions(*, source: int, target: int) -> Int[np.ndarray, "target"]:
    """Return which of `source` pixels the centre of each of `target` pixels falls in.

    That is floor((i + 0.5) * source / target), computed in integers so that it is the same on every machine.
    """
    return (2 * np.arange(target, dtype=np.int64) + 1) * source // (2 * target)


def resize_mask(mask: Bool[np.ndarray, "h w"], *, size: tuple[int, int]) -> Bool[np.ndarray, "new_h new_w"]:
    """Return `mask` at `size` = (height, width), each pixel the nearest of the original."""
    rows = nearest_positions(source=mask.shape[0], target=size[0])
    columns = nearest_positions(source=mask.shape[1], target=size[1])
    return mask[rows[:, None], columns]


def packed_width(width: int) -> int:
    """Return the bytes a packed mask row of `width` pixels takes."""
    return -(-width // 8)


def pack_mask(mask: Bool[np.ndarray, "h w"], *, frame: tuple[int, int]) -> UInt8[np.ndarray, "frame_h packed_w"]:
    """Return `mask` in the top-left corner of a zero `frame`, eight pixels a byte along the width."""
    packed = np.zeros((frame[0], packed_width(frame[1])), np.uint8)
    bits = np.packbits(mask, axis=-1)
    packed[: bits.shape[0], : bits.shape[1]] = bits
    return packed
