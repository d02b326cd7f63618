"""Attention a block of query rows at a time, in plain JAX: for CPUs, and for GPUs without a kernel that fits."""

import functools

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float, Float32

from samjax.core.sizes import largest_divisor
from samjax.nn.kernels.plain import ColumnOffsets, MapHeads, RowOffsets
from samjax.parallel.sharding import platform

# Scores that exist at a time, in bytes. On a CPU what its caches hold: eight rows of one head of a 64 x 64 map. ViT-B's
# global attention takes 0.42 s so on two cores, its gradient 1.4 s; with a row of all twelve heads 0.67 s and 3.7 s.
BLOCK_BYTES = {"cpu": 2**23, "gpu": 2**28, "tpu": 2**28}
MAP_BYTES = 2**27  # the same of one map, where their number is not known

Heads = Float[Array, "g h w c"]
BlockOffsets = Float[Array, "blocks r h c"] | None


def blockwise_attention(q: MapHeads, k: MapHeads, v: MapHeads, rows: RowOffsets, columns: ColumnOffsets) -> MapHeads:
    """Compute `plain_attention`, and its gradient, without ever holding the scores of more than a block of queries.

    Each block sees all keys, so its softmax is the exact one. The backward pass computes the scores again from the
    logarithm of their sum, as flash attention does (Dao et al. 2022). Traced for any number of maps, it takes them all
    at a time, and a few rows of each.
    """
    n, height, width, heads, _ = q.shape
    row_bytes = 4 * width * height * width  # of a head
    if jax.export.is_symbolic_dim(n):
        rows_at_once = largest_divisor(height, MAP_BYTES // (row_bytes * heads))
        heads_at_once = n * heads
    else:
        room = BLOCK_BYTES[platform()] // row_bytes  # rows of queries, of any head
        rows_at_once = largest_divisor(height, room)
        heads_at_once = largest_divisor(n * heads, room // rows_at_once)
    groups = n * heads // heads_at_once

    def attend(group: tuple[Heads, Heads, Heads]) -> Heads:
        return _attend(rows_at_once, *group, _split_offsets(rows, rows_at_once), columns)

    def grouped(part: MapHeads) -> Float[Array, "groups g h w c"]:
        return rearrange(part, "n h w e c -> (n e) h w c").reshape(groups, heads_at_once, height, width, part.shape[-1])

    out = jax.lax.map(attend, (grouped(q), grouped(k), grouped(v)))
    return rearrange(out.reshape(n, heads, height, width, -1), "n e h w c -> n h w e c")


def _split_offsets(rows: RowOffsets, at_once: int) -> BlockOffsets:
    return None if rows is None else rows.reshape(-1, at_once, *rows.shape[1:])


def _scores(
    q: Float[Array, "g r w c"], k: Heads, rows: Float[Array, "r h c"] | None, columns: ColumnOffsets
) -> Float32[Array, "g r w h x"]:
    """Return the scores of r rows of queries with all keys."""
    scores = jnp.einsum("grwc,gyxc->grwyx", q * q.shape[-1] ** -0.5, k, preferred_element_type=jnp.float32)
    if rows is None or columns is None:
        return scores
    by_row = jnp.einsum("grwc,ryc->grwy", q, rows, preferred_element_type=jnp.float32)
    by_column = jnp.einsum("grwc,wxc->grwx", q, columns, preferred_element_type=jnp.float32)
    return scores + by_row[..., :, None] + by_column[..., None, :]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(at_once: int, q: Heads, k: Heads, v: Heads, rows: BlockOffsets, columns: ColumnOffsets) -> Heads:
    return _forward(at_once, q, k, v, rows, columns)[0]


def _forward(at_once, q, k, v, rows, columns):
    def block(_, inputs):
        queries, offsets = inputs
        scores = _scores(queries, k, offsets, columns)
        largest = jnp.max(jnp.max(scores, axis=-2), axis=-1)  # down the rows first: a CPU takes those side by side
        weights = jnp.exp(scores - largest[..., None, None])
        total = jnp.sum(weights, axis=(-2, -1))
        out = jnp.einsum("grwyx,gyxc->grwc", weights.astype(v.dtype), v, preferred_element_type=jnp.float32)
        return None, ((out / total[..., None]).astype(v.dtype), largest + jnp.log(total))

    _, (out, log_total) = jax.lax.scan(block, None, (_split(q, at_once), rows))
    out, log_total = _join(out), _join(log_total)
    return out, (q, k, v, rows, columns, out, log_total)


def _backward(at_once, residuals, d_out):
    q, k, v, rows, columns, out, log_total = residuals
    # Softmax's backward pass takes from each weight's gradient their weighted mean, which is out . d out.
    mean = jnp.sum(out.astype(jnp.float32) * d_out.astype(jnp.float32), axis=-1)

    def block(carry, inputs):
        queries, offsets, d_out, log_total, mean = inputs
        scores, pull = jax.vjp(_scores, queries, k, offsets, columns)
        weights = jnp.exp(scores - log_total[..., None, None])
        d_v = jnp.einsum("grwyx,grwc->gyxc", weights.astype(v.dtype), d_out, preferred_element_type=jnp.float32)
        d_weights = jnp.einsum("grwc,gyxc->grwyx", d_out, v, preferred_element_type=jnp.float32)
        d_queries, d_k, d_offsets, d_columns = pull(weights * (d_weights - mean[..., None, None]))
        return jax.tree.map(jnp.add, carry, (d_k.astype(jnp.float32), d_v, d_columns)), (d_queries, d_offsets)

    zeros = jax.tree.map(lambda part: jnp.zeros(part.shape, jnp.float32), (k, v, columns))
    inputs = (_split(q, at_once), rows, *(_split(part, at_once) for part in (d_out, log_total, mean)))
    (d_k, d_v, d_columns), (d_q, d_rows) = jax.lax.scan(block, zeros, inputs)
    d_columns = None if columns is None else d_columns.astype(columns.dtype)
    return _join(d_q), d_k.astype(k.dtype), d_v.astype(v.dtype), d_rows, d_columns


_attend.defvjp(_forward, _backward)


def _split(x: Float[Array, "g h *rest"], rows: int) -> Float[Array, "blocks g r *rest"]:
    return jnp.moveaxis(x.reshape(x.shape[0], -1, rows, *x.shape[2:]), 1, 0)


def _join(x: Float[Array, "blocks g r *rest"]) -> Float[Array, "g h *rest"]:
    x = jnp.moveaxis(x, 0, 1)
    return x.reshape(x.shape[0], -1, *x.shape[3:])
