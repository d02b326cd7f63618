"""Convolutions with standardised kernels (Qiao et al. 2019) and TensorFlow's padding, as in BiT and ViT hybrids."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Float32

from samjax.nn.init import parameter


class StandardisedConv(nnx.Module):
    """A convolution without bias whose kernel is brought to mean 0 and variance 1 for each output channel.

    Padding is TensorFlow's SAME: a side of n pixels becomes ceil(n / stride), and where the padding is odd the pixel
    more is at the bottom and the right; so what an even kernel or a stride sees depends on the size.

    Args:
      inputs: channels of the map.
      outputs: channels of the result.
      size: side of the kernel, (size, size, in, out).
      stride: pixels of the map to one of the result.
      epsilon: added to the kernel's variance, which is the biased one.
      dtype: of activations and of the convolution; the kernel is standardised in float32.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        stride: int = 1,
        epsilon: float = 1e-8,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.stride, self.epsilon, self.dtype = stride, epsilon, dtype
        init = nnx.initializers.he_normal()  # its scale is standardised away
        self.kernel = parameter(init, (size, size, inputs, outputs), axes=(None, None, None, "embed"), rngs=rngs)

    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b gh gw d"]:
        """Return the map, each side divided by the stride and rounded up."""
        return jax.lax.conv_general_dilated(
            image.astype(self.dtype),
            self.applied_kernel().astype(self.dtype),
            window_strides=(self.stride, self.stride),
            padding="SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def applied_kernel(self) -> Float32[Array, "kh kw i o"]:
        """Return the kernel that is applied."""
        kernel = self.kernel[...]
        axes = (0, 1, 2)
        mean, variance = kernel.mean(axes), kernel.var(axes)
        return (kernel - mean) * jax.lax.rsqrt(variance + self.epsilon)
