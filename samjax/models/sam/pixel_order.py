"""From the pixels of each cell to rows of pixels."""

import einops
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32

from samjax.parallel.sharding import platform


def pixel_rows(cells: Float32[Array, "b m k i 2 2 2 2"], grid: tuple[int, int]) -> Float32[Array, "b m k h w"]:
    """Lay out the pixels of the i cells of a `grid` of (height, width) in rows.

    The axes of two are bits of a pixel's place in its cell: y, x, then the finer y and x.
    """
    return _by_product(cells, grid) if platform() == "tpu" else _by_transpose(cells, grid)


def _by_transpose(cells: Float32[Array, "b m k i 2 2 2 2"], grid: tuple[int, int]) -> Float32[Array, "b m k h w"]:
    return einops.rearrange(cells, "b m k (h w) y x v u -> b m k (h y v) (w x u)", h=grid[0], w=grid[1])


def _by_product(cells: Float32[Array, "b m k i 2 2 2 2"], grid: tuple[int, int]) -> Float32[Array, "b m k h w"]:
    """Interleave the pixels of a row by a product with a permutation, which is exact at the highest precision.

    A transpose would have to interleave lanes of a TPU's registers: the compiler then lays out masks along the lanes,
    8 times the bytes for 16 masks, and the losses and their targets with them.
    """
    width = grid[1]
    apart = einops.rearrange(cells, "b m k (h w) y x v u -> b m k (h y v) (x u w)", h=grid[0], w=width)
    of_pixel = np.arange(4 * width).reshape(2, 2, width).transpose(2, 0, 1).reshape(-1)
    return jnp.matmul(apart, np.eye(4 * width, dtype=np.float32)[:, of_pixel], precision=jax.lax.Precision.HIGHEST)
