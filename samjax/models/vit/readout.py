"""What becomes of a class token where a head takes maps alone: every token takes it up (Ranftl et al. 2021, DPT)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from samjax.nn.init import VIT_INIT, parameter
from samjax.nn.mlp import gelu


class ProjectReadout(nnx.Module):
    """Each token and the class token side by side, through a linear layer and GELU: the readout "project" of DPT."""

    def __init__(self, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.dtype = dtype
        self.kernel = parameter(VIT_INIT, (2 * width, width), axes=("embed", None), rngs=rngs)
        self.bias = parameter(nnx.initializers.zeros, (width,), axes=(None,), rngs=rngs)

    def __call__(self, tokens: Float[Array, "b h w d"], class_token: Float[Array, "b d"]) -> Float[Array, "b h w d"]:
        """Return the map. The class token meets its half of the kernel once, not beside every token."""
        for_tokens, for_class = jnp.split(self.kernel[...].astype(self.dtype), 2)
        shared = class_token @ for_class + self.bias[...].astype(self.dtype)
        return gelu(tokens @ for_tokens + shared[:, None, None])
