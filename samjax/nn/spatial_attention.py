"""Multi-head attention over a token map with decomposed relative position, and between token sets."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Bool, Float

from samjax.nn.init import DECODER_INIT, VIT_INIT, parameter
from samjax.nn.rel_pos import relative_positions
from samjax.nn.window import partition, unpartition, windows_along

MapHeads = Float[Array, "n h w e c"]


def spatial_attention(
    q: MapHeads, k: MapHeads, v: MapHeads, rows: Float[Array, "h h c"], columns: Float[Array, "w w c"]
) -> MapHeads:
    """Attend within each map of [n h w] tokens, e heads of c channels; softmax in float32.

    A query adds to its scaled score with each key its *unscaled* product with the embedding of their row offset and
    that of their column offset.
    """
    n, height, width, heads, channels = q.shape
    scores = jnp.einsum("nhwec,nyxec->nehwyx", q * channels**-0.5, k, preferred_element_type=jnp.float32)
    by_row = jnp.einsum("nhwec,hyc->nehwy", q, rows, preferred_element_type=jnp.float32)
    by_column = jnp.einsum("nhwec,wxc->nehwx", q, columns, preferred_element_type=jnp.float32)
    scores = scores + by_row[..., :, None] + by_column[..., None, :]
    weights = jax.nn.softmax(scores.reshape(n, heads, height, width, height * width), axis=-1).astype(v.dtype)
    return jnp.einsum("nehwt,ntec->nhwec", weights, v.reshape(n, height * width, heads, channels))


class SpatialAttention(nnx.Module):
    """Self-attention of an image encoder block: over the whole map, or within windows of `window` tokens.

    `table_size` is the (h, w) that the relative position tables are made for. A map that is no multiple of the window
    is padded after the projection: a zero token's q, k and v are the projection's bias, so projecting the padding,
    a fifth of the tokens at 64 x 64, is not needed. Padded keys take part in the softmax, as in the release.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        table_size: tuple[int, int],
        window: int | None,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.window, self.dtype = window, dtype
        channels = width // heads
        self.qkv = nnx.LinearGeneral(
            width,
            (3, heads, channels),
            kernel_init=VIT_INIT,
            kernel_metadata={"axes": ("embed", None, "heads", None)},
            dtype=dtype,
            rngs=rngs,
        )
        self.out = nnx.LinearGeneral(
            (heads, channels),
            width,
            axis=(-2, -1),
            kernel_init=VIT_INIT,
            kernel_metadata={"axes": ("heads", None, "embed")},
            dtype=dtype,
            rngs=rngs,
        )
        zeros = nnx.initializers.zeros
        self.row_positions = parameter(zeros, (2 * table_size[0] - 1, channels), axes=(None, None), rngs=rngs)
        self.column_positions = parameter(zeros, (2 * table_size[1] - 1, channels), axes=(None, None), rngs=rngs)

    def __call__(self, tokens: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        """Attend; the result has the residual branch's shape."""
        grid = (tokens.shape[1], tokens.shape[2])
        qkv = self.qkv(tokens)
        if self.window is None:
            return self.out(self._attend(qkv))
        padding = [windows_along(side, self.window) * self.window - side for side in grid]
        qkv = self._pad(qkv, padding)
        return self.out(unpartition(self._attend(partition(qkv, self.window)), grid))

    def _pad(self, qkv: Float[Array, "b h w 3 e c"], padding: list[int]) -> Float[Array, "b hp wp 3 e c"]:
        if not any(padding):
            return qkv
        frame = [(0, 0), (0, padding[0]), (0, padding[1])]
        inside = jnp.pad(jnp.ones(qkv.shape[:3], bool), frame)[..., None, None, None]
        bias = self.qkv.bias[...].astype(self.dtype)  # type: ignore[index]
        return jnp.where(inside, jnp.pad(qkv, [*frame, (0, 0), (0, 0), (0, 0)]), bias)

    def _attend(self, qkv: Float[Array, "n h w 3 e c"]) -> MapHeads:
        rows = relative_positions(self.row_positions[...], qkv.shape[1]).astype(self.dtype)
        columns = relative_positions(self.column_positions[...], qkv.shape[2]).astype(self.dtype)
        return spatial_attention(qkv[..., 0, :, :], qkv[..., 1, :, :], qkv[..., 2, :, :], rows, columns)


class TokenAttention(nnx.Module):
    """Attention from one token set to another, projected to `inner` channels in all (the decoder's)."""

    def __init__(
        self,
        width: int,
        inner: int,
        heads: int,
        *,
        init: Initializer = DECODER_INIT,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        def into() -> nnx.LinearGeneral:
            return nnx.LinearGeneral(
                width,
                (heads, inner // heads),
                kernel_init=init,
                kernel_metadata={"axes": ("embed", "heads", None)},
                dtype=dtype,
                rngs=rngs,
            )

        self.query, self.key, self.value = into(), into(), into()
        self.out = nnx.LinearGeneral(
            (heads, inner // heads),
            width,
            axis=(-2, -1),
            kernel_init=init,
            kernel_metadata={"axes": ("heads", None, "embed")},
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(
        self,
        queries: Float[Array, "n q d"],
        keys: Float[Array, "n t d"],
        values: Float[Array, "n t d"],
        *,
        key_valid: Bool[Array, "n t"] | None = None,
    ) -> Float[Array, "n q d"]:
        """Attend; keys where `key_valid` is False get no weight. Softmax in float32."""
        q, k, v = self.query(queries), self.key(keys), self.value(values)
        scores = jnp.einsum("nqec,ntec->neqt", q, k, preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
        if key_valid is not None:
            scores = jnp.where(key_valid[:, None, None, :], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return self.out(jnp.einsum("neqt,ntec->nqec", weights, v))
