"""Convolutions whose stride is their kernel: every input pixel belongs to one patch, so they are one matrix product.

Written as such they cost no dilated convolution in the backward pass, on any platform.
"""

import einops
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from samjax.nn.init import parameter


class Patchify(nnx.Module):
    """A size x size convolution of stride `size`, without padding; kernel (kh, kw, in, out).

    `axis` is the logical name of its outputs.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        init: Initializer,
        axis: str | None = "embed",
        use_bias: bool = True,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.dtype = dtype
        self.kernel = parameter(init, (size, size, inputs, outputs), axes=(None, None, None, axis), rngs=rngs)
        self.bias = parameter(nnx.initializers.zeros, (outputs,), axes=(axis,), rngs=rngs) if use_bias else None

    def __call__(self, image: Float[Array, "n h w c"]) -> Float[Array, "n gh gw d"]:
        """Return the map of patches; sides must be multiples of the patch."""
        size = self.kernel.shape[0]
        return self.of_patches(einops.rearrange(image, "n (h p) (w q) c -> n h w p q c", p=size, q=size))

    def of_patches(self, patches: Float[Array, "*n p q c"]) -> Float[Array, "*n d"]:
        """Return the same of patches already apart."""
        out = jnp.einsum("...pqc,pqcd->...d", patches.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return out if self.bias is None else out + self.bias[...].astype(self.dtype)


class Unpatchify(nnx.Module):
    """A size x size transposed convolution of stride `size`: each pixel becomes `size` rows of as many; kernel (kh, kw,
    in, out).

    `axis` is the logical name of its outputs.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int = 2,
        *,
        init: Initializer,
        axis: str | None = None,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.dtype = dtype
        self.kernel = parameter(init, (size, size, inputs, outputs), axes=(None, None, None, axis), rngs=rngs)
        self.bias = parameter(nnx.initializers.zeros, (outputs,), axes=(axis,), rngs=rngs)

    def __call__(self, pixels: Float[Array, "*n c"]) -> Float[Array, "*n p q d"]:
        """Return the pixels of each input pixel on separate axes: no later layer of SAM's decoder needs their layout.
        `as_map` makes a map of them."""
        out = jnp.einsum("...c,pqcd->...pqd", pixels.astype(self.dtype), self.kernel[...].astype(self.dtype))
        return out + self.bias[...].astype(self.dtype)


def as_map(pixels: Float[Array, "b h w p q d"]) -> Float[Array, "b hp wq d"]:
    """Return the map of what `Unpatchify` makes of each pixel of a map."""
    return einops.rearrange(pixels, "b h w p q d -> b (h p) (w q) d")
