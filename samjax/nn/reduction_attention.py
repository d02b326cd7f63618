"""Attention to fewer keys than tokens: keys and values come of a smaller map (PVT; SegFormer, section 3.1)."""

import enum

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from samjax.nn.head_projections import into_heads, out_of_heads
from samjax.nn.init import VIT_INIT
from samjax.nn.mlp import gelu
from samjax.nn.norm import layer_norm
from samjax.nn.patch import Patchify

POOLED = 7
"""Side of the map that `Reduction.POOL` attends to."""


class Reduction(enum.Enum):
    """How the map of keys and values is made smaller."""

    CONVOLUTION = "convolution"
    """A convolution whose stride is its kernel; rows and columns that fill no kernel are left out."""
    POOL = "pool"
    """Means over 7 x 7 parts of the map, whatever its size (PVT v2 Li)."""


def has_reduction(ratio: int, reduction: Reduction) -> bool:
    """Return whether keys and values come of a map that is made smaller."""
    return reduction is Reduction.POOL or ratio > 1


class ReductionAttention(nnx.Module):
    """Self-attention on a map, to a map that is `ratio` times smaller on each side; softmax in float32.

    A ratio of 1 keeps all keys, but with `Reduction.POOL`, which has none.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        ratio: int,
        reduction: Reduction = Reduction.CONVOLUTION,
        init: Initializer = VIT_INIT,
        reduction_init: Initializer,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.is_pooled = reduction is Reduction.POOL
        same = {"init": init, "dtype": dtype, "rngs": rngs}
        self.query = into_heads(width, heads, **same)
        self.key_value = into_heads(width, heads, parts=(2,), **same)
        self.out = out_of_heads(width, heads, **same)
        self.size = 1 if self.is_pooled else ratio
        is_reduced = has_reduction(ratio, reduction)
        self.reduce = (
            Patchify(width, width, self.size, init=reduction_init, dtype=dtype, rngs=rngs) if is_reduced else None
        )
        self.norm = layer_norm(width, epsilon=1e-5, dtype=dtype, rngs=rngs) if is_reduced else None

    def __call__(self, tokens: Float[Array, "b h w d"]) -> Float[Array, "b h w d"]:
        """Attend; the result has the residual branch's shape."""
        seen = self._reduced(tokens)
        query, (key, value) = self.query(tokens), jnp.moveaxis(self.key_value(seen), -3, 0)
        scores = jnp.einsum("bhwec,bijec->behwij", query, key, preferred_element_type=jnp.float32)
        batch, heads, *grid, rows, columns = scores.shape
        scores = scores.reshape(batch, heads, *grid, rows * columns) * query.shape[-1] ** -0.5
        weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype).reshape(batch, heads, *grid, rows, columns)
        return self.out(jnp.einsum("behwij,bijec->bhwec", weights, value))

    def _reduced(self, tokens: Float[Array, "b h w d"]) -> Float[Array, "b i j d"]:
        if self.reduce is None or self.norm is None:
            return tokens
        if self.is_pooled:
            rows, columns = (jnp.asarray(pooling(side, POOLED), tokens.dtype) for side in tokens.shape[1:3])
            return gelu(self.norm(self.reduce(jnp.einsum("ih,bhwd,jw->bijd", rows, tokens, columns))))
        rows, columns = (side // self.size * self.size for side in tokens.shape[1:3])
        return self.norm(self.reduce(tokens[:, :rows, :columns]))


def pooling(side: int, cells: int) -> Float[np.ndarray, "cells side"]:
    """Return the matrix of adaptive average pooling: cell i is the mean from floor(i n / k) to ceil((i + 1) n / k)."""
    matrix = np.zeros((cells, side), np.float32)
    for cell in range(cells):
        begin, end = cell * side // cells, -(-(cell + 1) * side // cells)
        matrix[cell, begin:end] = 1 / (end - begin)
    return matrix
