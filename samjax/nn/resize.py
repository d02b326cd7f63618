"""Resizes position tables and patch kernels of an image encoder for another frame or patch size.

Positions are interpolated as PyTorch's `interpolate` does without antialiasing: bicubic with a = -0.75 for the absolute
table, as ViTDet and MAE do it, linear for the relative ones. JAX's bicubic has a = -0.5.
"""

import numpy as np
from jaxtyping import Float


def resize_positions(table: Float[np.ndarray, "h w c"], grid: tuple[int, int]) -> Float[np.ndarray, "gh gw c"]:
    """Return a table of absolute positions for another grid, bicubically."""
    rows, columns = (_interpolation(_cubic, 2, old, new) for old, new in zip(table.shape, grid, strict=False))
    return np.einsum("gh,hwc,kw->gkc", rows, table, columns).astype(np.float32)


def resize_relative(table: Float[np.ndarray, "n c"], length: int) -> Float[np.ndarray, "m c"]:
    """Return a table of relative positions for another side, linearly."""
    return (_interpolation(_tent, 1, len(table), length) @ table).astype(np.float32)


def resize_kernel(kernel: Float[np.ndarray, "o i p p"], patch: int) -> Float[np.ndarray, "o i q q"]:
    """Return a patch embedding for larger patches that sees of an enlarged patch what the old one saw of it.

    The pseudoinverse resize of FlexiViT (Beyer et al. 2023, section 3.4), of which bilinear enlargement is inverted:
    <enlarged x, new kernel> = <x, kernel> for every x. An interpolated kernel would sum over more pixels, and a 16 for
    a 14 answer 1.31 times as loudly.
    """
    inverse = np.linalg.pinv(_interpolation(_tent, 1, kernel.shape[-1], patch).T)
    return np.einsum("qa,oiab,rb->oiqr", inverse, kernel, inverse).astype(np.float32)


def _interpolation(weight, reach: int, old: int, new: int) -> Float[np.ndarray, "new old"]:
    """Return the matrix from samples at `old` pixel centres to `new`; beyond the border the last one is repeated."""
    matrix = np.zeros((new, old))
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(centres).astype(int)
    for offset in range(1 - reach, 1 + reach):
        np.add.at(
            matrix, (np.arange(new), np.clip(first + offset, 0, old - 1)), weight(np.abs(centres - first - offset))
        )
    return matrix


def _tent(distance: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    return 1 - distance


def _cubic(distance: Float[np.ndarray, "n"], a: float = -0.75) -> Float[np.ndarray, "n"]:
    """Keys's convolution kernel, up to a distance of 2."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, far)
