"""Pixels by the cell they are in, and by rows; from one order to the other.

The pixels of a cell are numbered by bits, axes of two: y, x, then the finer y and x.

On TPUs a row's pixels are interleaved, or taken apart, by a product with a permutation, which is exact at the highest
precision. A transpose would have to interleave lanes of registers: the compiler then lays out masks along the lanes, 8
times the bytes for 16 masks, and all that is computed of the pixels with them.
"""

import einops
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from samjax.parallel.sharding import platform

Grid = tuple[int, int]
CellPixels = Float[Array, "*n i 2 2 2 2"]
PixelRows = Float[Array, "*n h w"]


def rows_of_cells(cells: CellPixels, grid: Grid) -> PixelRows:
    """Lay out the pixels of a `grid` of (height, width) cells in rows."""
    return product_to_rows(cells, grid) if platform() == "tpu" else transpose_to_rows(cells, grid)


def cells_of_rows(rows: PixelRows, grid: Grid) -> CellPixels:
    """Undo `rows_of_cells`."""
    return product_to_cells(rows, grid) if platform() == "tpu" else transpose_to_cells(rows, grid)


def transpose_to_rows(cells: CellPixels, grid: Grid) -> PixelRows:
    """See `rows_of_cells`."""
    return einops.rearrange(cells, "... (h w) y x v u -> ... (h y v) (w x u)", h=grid[0], w=grid[1])


def transpose_to_cells(rows: PixelRows, grid: Grid) -> CellPixels:
    """See `cells_of_rows`."""
    return einops.rearrange(rows, "... (h y v) (w x u) -> ... (h w) y x v u", h=grid[0], w=grid[1], y=2, v=2, x=2, u=2)


def product_to_rows(cells: CellPixels, grid: Grid) -> PixelRows:
    """See `rows_of_cells`."""
    apart = einops.rearrange(cells, "... (h w) y x v u -> ... (h y v) (x u w)", h=grid[0], w=grid[1])
    return _permute(apart, _interleave(grid[1]))


def product_to_cells(rows: PixelRows, grid: Grid) -> CellPixels:
    """See `cells_of_rows`."""
    apart = _permute(rows, _interleave(grid[1]).T)
    return einops.rearrange(apart, "... (h y v) (x u w) -> ... (h w) y x v u", h=grid[0], w=grid[1], y=2, v=2, x=2, u=2)


def _permute(rows: PixelRows, permutation: np.ndarray) -> PixelRows:
    return jnp.matmul(rows, permutation.astype(rows.dtype), precision=jax.lax.Precision.HIGHEST)


def _interleave(width: int) -> np.ndarray:
    """Return the matrix that brings a row of `width` cells from the order (x, u, cell) to (cell, x, u)."""
    places = np.arange(4 * width).reshape(2, 2, width).transpose(2, 0, 1).reshape(-1)
    return np.eye(4 * width)[:, places]
