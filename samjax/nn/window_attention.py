"""Attention within windows of a map, with a learned bias for every offset (Liu et al. 2021, Swin; HRFormer)."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Int

from samjax.nn.head_projections import into_heads, out_of_heads
from samjax.nn.init import VIT_INIT, parameter
from samjax.nn.window import Padding, pad_to_windows, partition, unpartition

ELSEWHERE = -100.0
"""Added to scores of tokens from elsewhere in the map, as in the authors' code."""


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

    With a `shift` the windows lie so many tokens further down and right, and what is left of the map beyond its last
    windows shares windows with its first rows and columns, without seeing them. Padding is then AFTER.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        window: int,
        padding: Padding,
        shift: int = 0,
        init: Initializer = VIT_INIT,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        if shift and padding is not Padding.AFTER:
            raise ValueError(f"windows that are shifted by {shift} are padded AFTER the map, not {padding.name}")
        self.window, self.padding, self.shift, self.dtype = window, padding, shift, dtype
        offsets = 2 * window - 1
        self.qkv = into_heads(width, heads, parts=(3,), init=init, dtype=dtype, rngs=rngs)
        self.out = out_of_heads(width, heads, init=init, dtype=dtype, rngs=rngs)
        self.offsets = parameter(VIT_INIT, (offsets, offsets, heads), axes=(None, None, "heads"), rngs=rngs)

    def __call__(self, tokens: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        """Attend; the result has the residual branch's shape."""
        bias = self.qkv.bias[...].astype(self.dtype)  # type: ignore[index]
        qkv = pad_to_windows(self.qkv(tokens), self.window, fill=bias, padding=self.padding)
        if not self.shift:
            windows = _attend(partition(qkv, self.window), self.offsets[...], None)
            return self.out(unpartition(windows, (tokens.shape[1], tokens.shape[2]), padding=self.padding))
        padded = (qkv.shape[1], qkv.shape[2])
        regions = shifted_regions(padded, self.window, self.shift)
        qkv = jnp.roll(qkv, (-self.shift, -self.shift), axis=(1, 2))
        windows = _attend(partition(qkv, self.window), self.offsets[...], jnp.asarray(regions))
        merged = jnp.roll(unpartition(windows, padded), (self.shift, self.shift), axis=(1, 2))
        return self.out(merged[:, : tokens.shape[1], : tokens.shape[2]])


def shifted_regions(grid: tuple[int, int], window: int, shift: int) -> np.ndarray:
    """Return which region of a rolled map each token of each window is from, [windows, window^2].

    Tokens attend to those of their own region. Sides are multiples of the window.
    """
    rows, columns = (np.searchsorted([side - window, side - shift], np.arange(side), side="right") for side in grid)
    regions = (3 * rows[:, None] + columns).astype(np.int8)
    by_windows = regions.reshape(grid[0] // window, window, grid[1] // window, window).swapaxes(1, 2)
    return by_windows.reshape(-1, window**2)


@jax.checkpoint
def _attend(
    qkv: Float[Array, "n s s 3 e c"],
    table: Float[Array, "offsets offsets e"],
    regions: Int[Array, "windows q"] | None,
) -> Float[Array, "n s s e c"]:
    """Attend within each window; the backward pass computes scores again, s^2 for each token and head."""
    n, side, _, _, heads, channels = qkv.shape
    q, k, v = jnp.moveaxis(qkv.reshape(n, side**2, 3, heads, channels), 2, 0)
    scores = jnp.einsum("nqec,nkec->neqk", q * channels**-0.5, k, preferred_element_type=jnp.float32)
    scores = scores + offset_bias(table)
    if regions is not None:
        apart = jnp.where(regions[:, None, :, None] == regions[:, None, None], 0.0, ELSEWHERE)
        scores = (scores.reshape(-1, *apart.shape[:1], *scores.shape[1:]) + apart).reshape(scores.shape)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("neqk,nkec->nqec", weights, v).reshape(n, side, side, heads, channels)
