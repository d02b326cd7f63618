"""Layer normalisation as the release computes it."""

import jax.numpy as jnp
from flax import nnx


def layer_norm(width: int, *, epsilon: float, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Return a LayerNorm over the last axis; on [b h w c] maps it is the release's LayerNorm2d.

    The variance is E[(x - E[x])^2]: flax's default, E[x^2] - E[x]^2, cancels in float32. Statistics are float32
    whatever `dtype` is.
    """
    return nnx.LayerNorm(width, epsilon=epsilon, dtype=dtype, use_fast_variance=False, rngs=rngs)
