"""Layer normalisation as the release computes it, and group normalisation."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float


class LayerNorm(nnx.LayerNorm):
    """Stores only its input for the backward pass; JAX would also store the centred and the normalised input."""

    def __call__(self, x: Float[Array, "*n c"], *, mask: Array | None = None) -> Float[Array, "*n c"]:
        """Normalise over the last axis; statistics count only where `mask`, if there is one, is True."""
        return _normalise(self, x, mask)


@functools.partial(jax.checkpoint, prevent_cse=False)
def _normalise(norm: LayerNorm, x: Float[Array, "*n c"], mask: Array | None) -> Float[Array, "*n c"]:
    return nnx.LayerNorm.__call__(norm, x, mask=mask)


def layer_norm(width: int, *, epsilon: float, dtype: jnp.dtype, rngs: nnx.Rngs) -> LayerNorm:
    """Return a LayerNorm over the last axis; on [b h w c] maps it is the release's LayerNorm2d.

    The variance is E[(x - E[x])^2]: flax's default, E[x^2] - E[x]^2, cancels in float32. Statistics are float32
    whatever `dtype` is.
    """
    return LayerNorm(width, epsilon=epsilon, dtype=dtype, use_fast_variance=False, rngs=rngs)


def group_norm(width: int, groups: int, *, epsilon: float = 1e-5, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.GroupNorm:
    """Return a GroupNorm (Wu and He 2018) of [b h w c] maps: over the pixels and the channels of each group.

    As in `layer_norm`, the variance does not cancel, and statistics are float32 whatever `dtype` is.
    """
    return nnx.GroupNorm(width, groups, epsilon=epsilon, dtype=dtype, use_fast_variance=False, rngs=rngs)
