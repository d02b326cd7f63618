"""Relative position as channels of queries and keys, so that any attention without it computes it.

The position part of a score is a sum of two table lookups by the key's row and column: a product with one-hot vectors.
So q' = [q / sqrt(c), q Rows, q Columns] and k' = [k, onehot(row), onehot(column)] have q'.k' = the whole score, at
c + h + w channels.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from samjax.nn.kernels.plain import ColumnOffsets, MapHeads, RowOffsets


def fold(
    q: MapHeads, k: MapHeads, rows: RowOffsets, columns: ColumnOffsets
) -> tuple[Float[Array, "n t e f"], Float[Array, "n t e f"]]:
    """Return queries and keys whose products are the scores of `plain_attention`; t = h * w, f = c + h + w.

    Without relative positions f = c.
    """
    n, height, width, heads, channels = q.shape
    if rows is None or columns is None:
        tokens = (n, height * width, heads, channels)
        return (q * channels**-0.5).reshape(tokens), k.reshape(tokens)
    by_row = jnp.einsum("nhwec,hyc->nhwey", q, rows).astype(q.dtype)
    by_column = jnp.einsum("nhwec,wxc->nhwex", q, columns).astype(q.dtype)
    queries = jnp.concatenate([q * channels**-0.5, by_row, by_column], axis=-1)

    at_row = jnp.broadcast_to(jnp.eye(height, dtype=k.dtype)[:, None], (height, width, height))
    at_column = jnp.broadcast_to(jnp.eye(width, dtype=k.dtype)[None], (height, width, width))
    place = jnp.concatenate([at_row, at_column], axis=-1)[None, :, :, None]
    keys = jnp.concatenate([k, jnp.broadcast_to(place, (n, height, width, heads, height + width))], axis=-1)
    tokens = (n, height * width, heads, channels + height + width)
    return queries.reshape(tokens), keys.reshape(tokens)


def folded_attention(q: MapHeads, k: MapHeads, v: MapHeads, rows: RowOffsets, columns: ColumnOffsets) -> MapHeads:
    """Compute `plain_attention` with every score at once, as one product over folded channels.

    Scores are [n e t t], where the definition's have a key's row and column apart: a TPU pads a window's 14 columns to
    128. Position terms are rounded to the queries' dtype.
    """
    queries, keys = fold(q, k, rows, columns)
    scores = jnp.einsum("ntef,nsef->nets", queries, keys, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    values = v.reshape(keys.shape[:-1] + v.shape[-1:])
    return jnp.einsum("nets,nsec->ntec", weights, values).reshape(v.shape)
