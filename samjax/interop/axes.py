"""The axis layout of an array in PyTorch and in samjax, for conversion in both directions."""

import math
from dataclasses import dataclass

import einops
import numpy as np


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The axes of an array in PyTorch and in samjax, in einops notation.

    The same names stand on both sides. `ours` has one name per axis, so its shape gives every name a size; `torch` may
    join names in parentheses, and may have axes of size 1. Letters: i inputs, o outputs, e heads, c channels of a head.
    """

    torch: str
    ours: str

    def torch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that an array of our `shape` has in PyTorch."""
        sizes = self._sizes(shape) | {"1": 1}
        joined = [axis.strip("()").split() for axis in _axes(self.torch)]
        return tuple(math.prod(sizes[name] for name in names) for names in joined)

    def from_torch(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return PyTorch's array in our layout, of `shape`."""
        return einops.rearrange(array, f"{self.torch} -> {self.ours}", **self._sizes(shape))

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Return our array in PyTorch's arrangement, contiguous."""
        return np.ascontiguousarray(einops.rearrange(array, f"{self.ours} -> {self.torch}"))

    def _sizes(self, shape: tuple[int, ...]) -> dict[str, int]:
        return dict(zip(self.ours.split(), shape, strict=True))


class PositionRows(Layout):
    """A map of positions that in PyTorch is one long row, behind a row of zeros for the class token."""

    def torch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that an array of our `shape` [h w c] has in PyTorch."""
        height, width, channels = shape
        return (1, height * width + 1, channels)

    def from_torch(self, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return PyTorch's array in our layout; its first row is ignored."""
        return array[0, 1:].reshape(shape)

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """Return our array in PyTorch's arrangement, contiguous."""
        rows = array.reshape(-1, array.shape[-1])
        return np.concatenate([np.zeros_like(rows[:1]), rows])[None]


def _axes(pattern: str) -> list[str]:
    """Split `(e c) i 1` into `(e c)`, `i`, `1`."""
    axes, depth = [""], 0
    for character in pattern:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == " " and depth == 0:
            axes.append("")
        else:
            axes[-1] += character
    return axes


VECTOR = Layout(torch="c", ours="c")
"""Norms, most biases."""
MATRIX = Layout(torch="n c", ours="n c")
"""Tables and embeddings."""
ROW = Layout(torch="1 c", ours="c")
"""One embedding."""
POSITION = Layout(torch="1 h w c", ours="h w c")
CLASS_AND_POSITIONS = PositionRows(torch="1 n c", ours="h w c")
TOKEN = Layout(torch="1 1 c", ours="c")
POSITION_ROWS = Layout(torch="1 n c", ours="n c")
"""Positions in one long row, with or without those of class tokens."""
LINEAR = Layout(torch="o i", ours="i o")
CONVOLUTION = Layout(torch="o i kh kw", ours="kh kw i o")
POINTWISE = Layout(torch="o i 1 1", ours="i o")
"""A 1 x 1 convolution, here a linear layer."""
TRANSPOSED = Layout(torch="i o kh kw", ours="kh kw i o")
"""ConvTranspose2d, here `Unpatchify`."""
QKV = Layout(torch="(qkv e c) i", ours="i qkv e c")
QKV_BIAS = Layout(torch="(qkv e c)", ours="qkv e c")
INTO_HEADS = Layout(torch="(e c) i", ours="i e c")
INTO_HEADS_BIAS = Layout(torch="(e c)", ours="e c")
FROM_HEADS = Layout(torch="o (e c)", ours="e c o")
OFFSETS = Layout(torch="(h w) e", ours="h w e")
"""Biases of each head by the offset of a query from a key, row by row."""
