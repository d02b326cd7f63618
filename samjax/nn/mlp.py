"""The two-layer perceptron of a transformer block."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Key

from samjax.nn.drop_path import dropout
from samjax.nn.init import VIT_INIT


@functools.partial(jax.checkpoint, prevent_cse=False)
def gelu(x: Array) -> Array:
    """The erf form; JAX's default, tanh, is 4.7e-4 away from the release.

    Stores only its input for the backward pass; JAX would store three more arrays of four times the width.
    """
    return jax.nn.gelu(x, approximate=False)


class Mlp(nnx.Module):
    """width -> hidden -> width."""

    def __init__(
        self,
        width: int,
        hidden: int,
        *,
        activation: Callable[[Array], Array] = gelu,
        init: Initializer = VIT_INIT,
        axes: tuple[str | None, str | None] = ("embed", "mlp"),
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        """Make it; `axes` are the logical names of width and hidden in the kernels."""

        def linear(inputs: int, outputs: int, axes: tuple[str | None, ...]) -> nnx.Linear:
            return nnx.Linear(inputs, outputs, kernel_init=init, kernel_metadata={"axes": axes}, dtype=dtype, rngs=rngs)

        self.activation = activation
        self.up, self.down = linear(width, hidden, axes), linear(hidden, width, axes[::-1])

    def __call__(
        self, tokens: Float[Array, "*n d"], *, dropout: float = 0.0, key: Key[Array, "*m"] | None = None
    ) -> Float[Array, "*n d"]:
        """Apply it to each token; hidden units are dropped at the rate `dropout`, by `key` as `nn.drop_path` does."""
        return _activate(self.activation, self.down, self.up(tokens), dropout, key)


@functools.partial(jax.checkpoint, prevent_cse=False, static_argnums=(0, 3))
def _activate(
    activation: Callable[[Array], Array],
    linear: nnx.Linear,
    hidden: Float[Array, "*n h"],
    rate: float,
    key: Key[Array, "*m"] | None,
) -> Float[Array, "*n d"]:
    """Return `linear` of the activated units; the backward pass activates them again, which halves what is kept."""
    return linear(dropout(activation(hidden), rate, key))
