"""Fixed positions: sines and cosines of a token's column and row (Vaswani et al. 2017, in two dimensions)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32


def sin_cos_table(grid: tuple[int, int], width: int) -> Float32[Array, "h w d"]:
    """Return the positions of a map of `grid` = (height, width) tokens, in `width` channels, a multiple of four.

    The first half of the channels encodes the column and the second the row, each as width / 4 sines, then as many
    cosines, of the place times 10000^(-i / (width / 4)). MAE's published weights have the column first.
    """
    frequencies = 10000.0 ** -(np.arange(width // 4) / (width // 4))

    def along(side: int) -> np.ndarray:
        angles = np.arange(side)[:, None] * frequencies
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    height, across = grid
    columns = np.broadcast_to(along(across)[None, :], (height, across, width // 2))
    rows = np.broadcast_to(along(height)[:, None], (height, across, width // 2))
    table: jax.Array = jnp.asarray(np.concatenate([columns, rows], axis=-1), jnp.float32)
    return table


def sine_table(grid: tuple[int, int], width: int) -> Float32[Array, "h w d"]:
    """Return DETR's positions of a map of `grid` = (height, width) tokens, in `width` channels, a multiple of four.

    The first half encodes the row and the second the column: sine, cosine, sine, ... of the place, counted from 1 and
    as a share of the side times 2 pi, times 10000^(-2i / (width / 2)) (Carion et al. 2020).
    """
    half = width // 2
    frequencies = 10000.0 ** -(np.arange(half) // 2 * 2 / half)

    def along(side: int) -> np.ndarray:
        places = np.arange(1, side + 1) / (side + 1e-6) * (2 * np.pi)
        angles = places[:, None] * frequencies
        return np.where(np.arange(half) % 2, np.cos(angles), np.sin(angles))

    height, across = grid
    rows = np.broadcast_to(along(height)[:, None], (height, across, half))
    columns = np.broadcast_to(along(across)[None, :], (height, across, half))
    table: jax.Array = jnp.asarray(np.concatenate([rows, columns], axis=-1), jnp.float32)
    return table
