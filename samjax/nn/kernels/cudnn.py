"""Attention by cuDNN's flash kernel on NVIDIA GPUs, through folded channels."""

from typing import Literal

import jax
import jax.numpy as jnp

from samjax.nn.kernels.folding import fold
from samjax.nn.kernels.plain import ColumnOffsets, MapHeads, RowOffsets

_MULTIPLE = 8  # of a head's channels, cuDNN's rule


def cudnn_attention(
    q: MapHeads,
    k: MapHeads,
    v: MapHeads,
    rows: RowOffsets,
    columns: ColumnOffsets,
    *,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> MapHeads:
    """Compute `plain_attention` on a GPU without its scores in memory, in bfloat16.

    Values are padded to the width of folded queries and keys, at most 128 channels, or 256 on Hopper and later.
    `implementation` "xla" computes the same folded product anywhere. Position terms are rounded to the queries' dtype.
    """
    n, height, width, heads, channels = q.shape
    queries, keys = fold(q, k, rows, columns)
    padding = -queries.shape[-1] % _MULTIPLE
    queries, keys = (jnp.pad(part, ((0, 0), (0, 0), (0, 0), (0, padding))) for part in (queries, keys))
    values = v.reshape(n, height * width, heads, channels)
    values = jnp.pad(values, ((0, 0), (0, 0), (0, 0), (0, queries.shape[-1] - channels)))
    out = jax.nn.dot_product_attention(queries, keys, values, scale=1.0, implementation=implementation)
    return out[..., :channels].reshape(v.shape)
