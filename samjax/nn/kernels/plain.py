"""The definition: every score at once. What the other kernels are compared with, and the fastest for small maps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Tokens of n maps (photos, or windows), e heads of c channels; and the embedding of each query's offset to each key,
# None without relative positions. A sequence is then a map one token wide.
MapHeads = Float[Array, "n h w e c"]
RowOffsets = Float[Array, "h h c"] | None
ColumnOffsets = Float[Array, "w w c"] | None


def plain_attention(q: MapHeads, k: MapHeads, v: MapHeads, rows: RowOffsets, columns: ColumnOffsets) -> MapHeads:
    """Attend within each map; softmax in float32.

    A query adds to its scaled score with each key its *unscaled* product with the embedding of their row offset and
    that of their column offset.
    """
    n, height, width, heads, channels = q.shape
    scores = jnp.einsum("nhwec,nyxec->nehwyx", q * channels**-0.5, k, preferred_element_type=jnp.float32)
    if rows is not None and columns is not None:
        by_row = jnp.einsum("nhwec,hyc->nehwy", q, rows, preferred_element_type=jnp.float32)
        by_column = jnp.einsum("nhwec,wxc->nehwx", q, columns, preferred_element_type=jnp.float32)
        scores = scores + by_row[..., :, None] + by_column[..., None, :]
    weights = jax.nn.softmax(scores.reshape(n, heads, height, width, height * width), axis=-1).astype(v.dtype)
    return jnp.einsum("nehwt,ntec->nhwec", weights, v.reshape(n, height * width, heads, channels))
