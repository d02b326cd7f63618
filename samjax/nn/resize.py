"""Resizes position tables and patch kernels of an image encoder for another frame or patch size.

Positions are interpolated as PyTorch's `interpolate` does without antialiasing: bicubic with a = -0.75 for the absolute
table, as ViTDet and MAE do it, linear for the relative ones. JAX's bicubic has a = -0.5.
"""

import numpy as np
from jaxtyping import Float

from samjax.nn.interpolate import Method, matrix


def resize_positions(table: Float[np.ndarray, "h w c"], grid: tuple[int, int]) -> Float[np.ndarray, "gh gw c"]:
    """Return a table of absolute positions for another grid, bicubically."""
    rows, columns = (matrix(old, new, method=Method.BICUBIC) for old, new in zip(table.shape, grid, strict=False))
    return np.einsum("gh,hwc,kw->gkc", rows, table, columns).astype(np.float32)


def resize_relative(table: Float[np.ndarray, "n c"], length: int) -> Float[np.ndarray, "m c"]:
    """Return a table of relative positions for another side, linearly."""
    return (matrix(len(table), length, method=Method.BILINEAR) @ table).astype(np.float32)


def resize_kernel(kernel: Float[np.ndarray, "o i p p"], patch: int) -> Float[np.ndarray, "o i q q"]:
    """Return a patch embedding for larger patches that sees of an enlarged patch what the old one saw of it.

    The pseudoinverse resize of FlexiViT (Beyer et al. 2023, section 3.4), of which bilinear enlargement is inverted:
    <enlarged x, new kernel> = <x, kernel> for every x. An interpolated kernel would sum over more pixels, and a 16 for
    a 14 answer 1.31 times as loudly.
    """
    inverse = np.linalg.pinv(matrix(kernel.shape[-1], patch, method=Method.BILINEAR).T)
    return np.einsum("qa,oiab,rb->oiqr", inverse, kernel, inverse).astype(np.float32)
