"""Attention within windows of a map, with a learned bias for every offset (Liu et al. 2021, Swin; HRFormer)."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from samjax.nn.head_projections import into_heads, out_of_heads
from samjax.nn.init import VIT_INIT, parameter
from samjax.nn.window import Padding, pad_to_windows, partition, unpartition


def offset_bias(table: Float[Array, "offsets offsets e"]) -> Float[Array, "e q k"]:
    """Return what each of e heads adds to the score of each query and key of a window, both row by row.

    `table` [2 s - 1, 2 s - 1, e], for a window of s x s tokens, has at (dy + s - 1, dx + s - 1) the bias of a query
    dy rows below and dx columns right of the key.
    """
    side = (table.shape[0] + 1) // 2
    places = np.arange(side)[:, None] - np.arange(side) + side - 1
    by_rows = table[places][:, :, places]  # of the query's row, the key's row, the query's column, the key's column
    return by_rows.transpose(4, 0, 2, 1, 3).reshape(-1, side**2, side**2)


class WindowAttention(nnx.Module):
    """Self-attention within windows of `window` x `window` tokens; softmax in float32.

    A map that is no multiple of the window is padded with zeros before the projection, as in the authors' code: keys of
    the padding take part in the softmax. Their q, k and v are the projection's bias, which is what is padded here.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        window: int,
        padding: Padding,
        init: Initializer = VIT_INIT,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.window, self.padding, self.dtype = window, padding, dtype
        offsets = 2 * window - 1
        self.qkv = into_heads(width, heads, parts=(3,), init=init, dtype=dtype, rngs=rngs)
        self.out = out_of_heads(width, heads, init=init, dtype=dtype, rngs=rngs)
        self.offsets = parameter(VIT_INIT, (offsets, offsets, heads), axes=(None, None, "heads"), rngs=rngs)

    def __call__(self, tokens: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        """Attend; the result has the residual branch's shape."""
        bias = self.qkv.bias[...].astype(self.dtype)  # type: ignore[index]
        qkv = pad_to_windows(self.qkv(tokens), self.window, fill=bias, padding=self.padding)
        windows = _attend(partition(qkv, self.window), self.offsets[...])
        return self.out(unpartition(windows, (tokens.shape[1], tokens.shape[2]), padding=self.padding))


@jax.checkpoint
def _attend(qkv: Float[Array, "n s s 3 e c"], table: Float[Array, "offsets offsets e"]) -> Float[Array, "n s s e c"]:
    """Attend within each window; the backward pass computes scores again, s^2 for each token and head."""
    n, side, _, _, heads, channels = qkv.shape
    q, k, v = jnp.moveaxis(qkv.reshape(n, side**2, 3, heads, channels), 2, 0)
    scores = jnp.einsum("nqec,nkec->neqk", q * channels**-0.5, k, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(scores + offset_bias(table), axis=-1).astype(v.dtype)
    return jnp.einsum("neqk,nkec->nqec", weights, v).reshape(n, side, side, heads, channels)
