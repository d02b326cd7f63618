"""Products between a mask's few rows and a block of its cells, as the body of a Pallas kernel computes them.

Three forms, and each is the gradient of the others, so that kernels for both directions are made of the same three.
Operands are rounded to `dtype` for the matrix unit, in the backward pass too; sums are float32.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32

Rows = Float[Array, "r c"]
Cells = Float[Array, "n c"]
Pairs = Float[Array, "r n"]


def match(dtype: jnp.dtype, rows: Rows, cells: Cells) -> Float32[Array, "r n"]:
    """Return the product of every row with every cell."""
    return _match(dtype, rows, cells)


def spread(dtype: jnp.dtype, weights: Pairs, rows: Rows) -> Float32[Array, "n c"]:
    """Return for every cell the sum of rows with its weights."""
    return _spread(dtype, weights, rows)


def gather(dtype: jnp.dtype, weights: Pairs, cells: Cells) -> Float32[Array, "r c"]:
    """Return for every row the sum of cells with its weights."""
    return _gather(dtype, weights, cells)


def _product(left: int, right: int, dtype: jnp.dtype, a: Array, b: Array) -> Array:
    """Multiply over axis `left` of a and axis `right` of b."""
    precision = jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None
    dims = (((left,), (right,)), ((), ()))
    return jax.lax.dot_general(
        a.astype(dtype), b.astype(dtype), dims, precision=precision, preferred_element_type=jnp.float32
    )


_match_product = functools.partial(_product, 1, 1)
_spread_product = functools.partial(_product, 0, 0)
_gather_product = functools.partial(_product, 1, 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _match(dtype, rows, cells):
    return _match_product(dtype, rows, cells)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _spread(dtype, weights, rows):
    return _spread_product(dtype, weights, rows)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _gather(dtype, weights, cells):
    return _gather_product(dtype, weights, cells)


def _saving_operands(product):
    """Return `product` as a forward pass, which keeps its operands as it rounded them."""

    def forward(dtype, a, b):
        a, b = a.astype(dtype), b.astype(dtype)
        return product(dtype, a, b), (a, b)

    return forward


_match.defvjp(
    _saving_operands(_match_product),
    lambda dtype, kept, d: (_gather_product(dtype, d, kept[1]), _spread_product(dtype, d, kept[0])),
)
_spread.defvjp(
    _saving_operands(_spread_product),
    lambda dtype, kept, d: (_match_product(dtype, kept[1], d), _gather_product(dtype, kept[0], d)),
)
_gather.defvjp(
    _saving_operands(_gather_product),
    lambda dtype, kept, d: (_match_product(dtype, d, kept[1]), _spread_product(dtype, kept[0], d)),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def normalise(cells: Float32[Array, "n c"], epsilon: float) -> Float32[Array, "n c"]:
    """Return each cell with its mean taken away and its variance made one; two sums over channels either way."""
    return _normalise(cells, epsilon)[0]


def _normalise(cells, epsilon):
    centred = cells - jnp.mean(cells, axis=1, keepdims=True)
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=1, keepdims=True) + epsilon)
    normal = centred * inverse
    return normal, (normal, inverse)


def _pull_normalise(epsilon, kept, d):
    normal, inverse = kept
    return (inverse * (d - jnp.mean(d, axis=1, keepdims=True) - normal * jnp.mean(d * normal, axis=1, keepdims=True)),)


normalise.defvjp(_normalise, _pull_normalise)
