"""A convolution, a batch norm and an activation."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from samjax.nn.batch_norm import BatchNorm, Training
from samjax.nn.depthwise import DepthwiseConv


class ConvNorm(nnx.Module):
    """A convolution whose map keeps its size, or is divided by `stride` and rounded up; a batch norm; an activation.

    Args:
      inputs: channels of the map.
      outputs: channels of the result.
      kernel: side of the kernel, odd; a pointwise one of stride 1 is a linear layer.
      stride: pixels of the map to one of the result.
      groups: into how many groups, which do not see each other, the channels are divided; `inputs` of them make a
        depthwise convolution.
      use_bias: whether the convolution has a bias, which the norm would make up for.
      activation: what follows the norm, such as `jax.nn.relu`; None is nothing.
      dtype: of activations and matrix products.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        use_bias: bool = False,
        activation: Callable[[Array], Array] | None = None,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.activation = activation
        # He et al.'s initialiser, over outputs; each of a depthwise convolution sees one of them.
        init = nnx.initializers.normal(math.sqrt(2 * groups / (kernel**2 * outputs)))
        if kernel == stride == groups == 1:
            self.conv = nnx.Linear(
                inputs,
                outputs,
                kernel_init=init,
                kernel_metadata={"axes": (None, "embed")},
                use_bias=use_bias,
                dtype=dtype,
                rngs=rngs,
            )
        elif groups == inputs == outputs and kernel == 3:
            self.conv = DepthwiseConv(
                outputs, stride=stride, use_bias=use_bias, init=init, axis="embed", dtype=dtype, rngs=rngs
            )
        else:
            self.conv = nnx.Conv(
                inputs,
                outputs,
                (kernel, kernel),
                strides=stride,
                padding=kernel // 2,
                feature_group_count=groups,
                kernel_init=init,
                kernel_metadata={"axes": (None, None, None, "embed")},
                use_bias=use_bias,
                dtype=dtype,
                rngs=rngs,
            )
        self.norm = BatchNorm(outputs, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "*places c"], *, training: Training) -> Float[Array, "*fewer d"]:
        """Apply it to a map, a pointwise one to vectors anywhere; `training` is as for `BatchNorm`."""
        x = self.norm(self.conv(x), training=training)
        return x if self.activation is None else self.activation(x)
