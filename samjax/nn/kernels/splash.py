"""Attention by JAX's Pallas kernel for TPUs, through folded channels."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu import splash_attention as splash

from samjax.core.sizes import largest_divisor
from samjax.nn.kernels.folding import fold
from samjax.nn.kernels.plain import ColumnOffsets, MapHeads, RowOffsets

_LANES = 128
_BLOCK = 512  # tokens; a multiple of the lanes. 512 queries, keys and values of 208 channels fit a core's memory


def splash_attention(
    q: MapHeads,
    k: MapHeads,
    v: MapHeads,
    rows: RowOffsets,
    columns: ColumnOffsets,
    *,
    interpret: bool = False,
) -> MapHeads:
    """Compute `plain_attention` on a TPU without its scores in memory; `interpret` runs the kernel anywhere, slowly.

    Maps are padded to a multiple of 128 tokens, and the padding masked. Position terms are rounded to the queries'
    dtype.
    """
    n, height, width, heads, channels = q.shape
    tokens = height * width
    padding = -tokens % _LANES
    folded = (*fold(q, k, rows, columns), v.reshape(n, tokens, heads, channels))
    queries, keys, values = (
        jnp.pad(jnp.swapaxes(part, 1, 2), ((0, 0), (0, 0), (0, padding), (0, 0))) for part in folded
    )
    segments = None
    if padding:
        real = jnp.asarray(np.arange(tokens + padding) < tokens, jnp.int32)
        segments = splash.SegmentIds(q=real, kv=real)
    kernel = _kernel(heads, tokens + padding, interpret=interpret)
    out = jnp.asarray(jax.vmap(kernel, in_axes=(0, 0, 0, None))(queries, keys, values, segments))
    return jnp.swapaxes(out[:, :, :tokens], 1, 2).reshape(v.shape).astype(v.dtype)


def _kernel(heads: int, tokens: int, *, interpret: bool):
    block = _LANES * largest_divisor(tokens // _LANES, _BLOCK // _LANES)
    mask = splash.MultiHeadMask([splash.FullMask((tokens, tokens))] * heads)
    sizes = splash.BlockSizes(
        block_q=block,
        block_kv=block,
        block_kv_compute=block,
        block_q_dkv=block,
        block_kv_dkv=block,
        block_kv_dkv_compute=block,
        block_q_dq=block,
        block_kv_dq=block,
    )
    return splash.make_splash_mha(mask=mask, block_sizes=sizes, head_shards=1, q_seq_shards=1, interpret=interpret)
