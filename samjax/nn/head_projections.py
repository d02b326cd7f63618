"""The projections of self-attention over maps: tokens into heads, and heads back into tokens."""

import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer


def into_heads(
    width: int, heads: int, *, parts: tuple[int, ...] = (), init: Initializer, dtype: jnp.dtype, rngs: nnx.Rngs
) -> nnx.LinearGeneral:
    """Return a projection of tokens [... width] to [... *parts heads width/heads]; `parts` are queries, keys, ..."""
    return nnx.LinearGeneral(
        width,
        (*parts, heads, width // heads),
        kernel_init=init,
        kernel_metadata={"axes": ("embed", *(None for _ in parts), "heads", None)},
        dtype=dtype,
        rngs=rngs,
    )


def out_of_heads(width: int, heads: int, *, init: Initializer, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LinearGeneral:
    """Return a projection of [... heads width/heads] to tokens [... width]."""
    return nnx.LinearGeneral(
        (heads, width // heads),
        width,
        axis=(-2, -1),
        kernel_init=init,
        kernel_metadata={"axes": ("heads", None, "embed")},
        dtype=dtype,
        rngs=rngs,
    )
