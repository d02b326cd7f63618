"""Attention a block of query rows at a time, in plain JAX: for CPUs, and for GPUs without a kernel that fits."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

from samjax.nn.kernels.plain import ColumnOffsets, MapHeads, RowOffsets

# Scores that exist at a time. Larger blocks leave the processor's caches, smaller ones are many small products.
BLOCK_BYTES = 2**24

Heads = Float[Array, "n e h w c"]


def blockwise_attention(q: MapHeads, k: MapHeads, v: MapHeads, rows: RowOffsets, columns: ColumnOffsets) -> MapHeads:
    """Compute `plain_attention`, and its gradient, without ever holding the scores of more than a block of queries.

    Each block sees all keys, so its softmax is the exact one. The backward pass computes the scores again from the
    logarithm of their sum, as flash attention does (Dao et al. 2022).
    """
    q, k, v = (jnp.moveaxis(part, 3, 1) for part in (q, k, v))
    return jnp.moveaxis(_attend(q, k, v, rows, columns), 1, 3)


def _query_rows(q: Heads) -> int:
    """Return how many rows of queries make a block: a divisor of all rows."""
    n, heads, height, width, _ = q.shape
    row = 4 * n * heads * width * height * width
    return max(rows for rows in range(1, height + 1) if height % rows == 0 and (rows == 1 or rows * row <= BLOCK_BYTES))


def _scores(
    q: Float[Array, "n e r w c"], k: Heads, rows: Float[Array, "r h c"], columns: ColumnOffsets
) -> Float32[Array, "n e r w t"]:
    """Return the scores of r rows of queries with all t keys."""
    scores = jnp.einsum("nerwc,neyxc->nerwyx", q * q.shape[-1] ** -0.5, k, preferred_element_type=jnp.float32)
    by_row = jnp.einsum("nerwc,ryc->nerwy", q, rows, preferred_element_type=jnp.float32)
    by_column = jnp.einsum("nerwc,wxc->nerwx", q, columns, preferred_element_type=jnp.float32)
    scores = scores + by_row[..., :, None] + by_column[..., None, :]
    return scores.reshape(*scores.shape[:4], -1)


@jax.custom_vjp
def _attend(q: Heads, k: Heads, v: Heads, rows: RowOffsets, columns: ColumnOffsets) -> Heads:
    return _forward(q, k, v, rows, columns)[0]


def _forward(q, k, v, rows, columns):
    values = v.reshape(*v.shape[:2], -1, v.shape[-1])

    def block(_, inputs):
        queries, offsets = inputs
        scores = _scores(queries, k, offsets, columns)
        largest = jnp.max(scores, axis=-1, keepdims=True)
        weights = jnp.exp(scores - largest)
        total = jnp.sum(weights, axis=-1, keepdims=True)
        out = jnp.einsum("nerwt,netc->nerwc", weights.astype(v.dtype), values, preferred_element_type=jnp.float32)
        return None, ((out / total).astype(v.dtype), jnp.squeeze(largest + jnp.log(total), -1))

    blocks = _query_rows(q)
    _, (out, log_total) = jax.lax.scan(block, None, (_split(q, blocks), rows.reshape(-1, blocks, *rows.shape[1:])))
    out, log_total = _join(out), _join(log_total[..., None])[..., 0]
    return out, (q, k, v, rows, columns, out, log_total)


def _backward(residuals, out_gradient):
    q, k, v, rows, columns, out, log_total = residuals
    values = v.reshape(*v.shape[:2], -1, v.shape[-1])
    # Softmax's backward pass takes from each weight's gradient their weighted mean, which is out . d out.
    mean = jnp.sum(out.astype(jnp.float32) * out_gradient.astype(jnp.float32), axis=-1)

    def block(carry, inputs):
        queries, offsets, d_out, log_total, mean = inputs
        scores, pull = jax.vjp(_scores, queries, k, offsets, columns)
        weights = jnp.exp(scores - log_total[..., None])
        d_values = jnp.einsum("nerwt,nerwc->netc", weights.astype(v.dtype), d_out, preferred_element_type=jnp.float32)
        d_weights = jnp.einsum("nerwc,netc->nerwt", d_out, values, preferred_element_type=jnp.float32)
        d_queries, d_k, d_offsets, d_columns = pull(weights * (d_weights - mean[..., None]))
        carry = jax.tree.map(lambda total, part: total + part, carry, (d_k, d_values, d_columns))
        return carry, (d_queries, d_offsets)

    blocks = _query_rows(q)
    zeros = (
        jnp.zeros(k.shape, jnp.float32),
        jnp.zeros(values.shape, jnp.float32),
        jnp.zeros(columns.shape, jnp.float32),
    )
    inputs = (
        _split(q, blocks),
        rows.reshape(-1, blocks, *rows.shape[1:]),
        _split(out_gradient, blocks),
        _split(log_total[..., None], blocks)[..., 0],
        _split(mean[..., None], blocks)[..., 0],
    )
    (d_k, d_v, d_columns), (d_q, d_rows) = jax.lax.scan(block, zeros, inputs)
    return (
        _join(d_q),
        d_k.astype(k.dtype),
        d_v.reshape(v.shape).astype(v.dtype),
        d_rows.reshape(rows.shape),
        d_columns.astype(columns.dtype),
    )


_attend.defvjp(_forward, _backward)


def _split(x: Float[Array, "n e h w c"], rows: int) -> Float[Array, "blocks n e r w c"]:
    n, heads, height = x.shape[:3]
    return jnp.moveaxis(x.reshape(n, heads, height // rows, rows, *x.shape[3:]), 2, 0)


def _join(x: Float[Array, "blocks n e r w c"]) -> Float[Array, "n e h w c"]:
    x = jnp.moveaxis(x, 0, 2)
    return x.reshape(*x.shape[:2], -1, *x.shape[4:])
