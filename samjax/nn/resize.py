"""Resizes position tables and patch kernels of an image encoder for another frame or patch size.

Positions are interpolated as PyTorch's `interpolate` does without antialiasing: an absolute table bicubically with
a = -0.75, as ViTDet and MAE do it, or bilinearly, as SETR, Segmenter and DPT do; relative ones linearly, but the
offsets in a window bicubically, as Swin's authors do. JAX's bicubic has a = -0.5.
"""

import numpy as np
from jaxtyping import Float

from samjax.nn.interpolate import Method, matrix


def resize_positions(
    table: Float[np.ndarray, "h w c"], grid: tuple[int, int], *, method: Method = Method.BICUBIC
) -> Float[np.ndarray, "gh gw c"]:
    """Return a table of absolute positions for another grid, or of the offsets in a window for another window."""
    rows, columns = (matrix(old, new, method=method) for old, new in zip(table.shape, grid, strict=False))
    return np.einsum("gh,hwc,kw->gkc", rows, table, columns).astype(np.float32)


def resize_position_rows(
    table: Float[np.ndarray, "n c"],
    old: tuple[int, int],
    new: tuple[int, int],
    *,
    method: Method = Method.BICUBIC,
) -> Float[np.ndarray, "m c"]:
    """Return a table of a row each, of learned tokens and then of the patches of a grid, for another grid.

    Args:
      table: what it has beyond the `old` grid's rows are the learned tokens', which stay as they are.
      old: (height, width) of the grid it is for.
      new: the same of the result.
      method: how the patches' positions are interpolated.
    """
    extra, width = len(table) - old[0] * old[1], table.shape[1]
    patches = resize_positions(table[extra:].reshape(*old, width), new, method=method)
    return np.concatenate([table[:extra], patches.reshape(-1, width)])


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
