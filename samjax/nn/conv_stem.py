"""A convolutional stem in place of a patch embedding (Xiao et al. 2021, Early Convolutions)."""

import itertools

import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float

from samjax.nn.init import DECODER_INIT
from samjax.nn.mlp import gelu
from samjax.nn.norm import layer_norm


def stem_channels(inputs: int, outputs: int, size: int) -> list[int]:
    """Return the channels before each convolution, and after the last."""
    count = size.bit_length() - 1
    return [inputs, *(max(1, outputs >> count - 1 - stage) for stage in range(count))]


class ConvStem(nnx.Module):
    """3 x 3 convolutions of stride 2, each with a norm and GELU, then a 1 x 1 convolution to the tokens' channels.

    The first has `outputs` channels halved once for every further one, so that the last has all of them. `size` is a
    power of two, the side of the patch in whose place a token stands.
    """

    def __init__(self, inputs: int, outputs: int, size: int, *, init: Initializer, dtype: jnp.dtype, rngs: nnx.Rngs):
        channels = stem_channels(inputs, outputs, size)

        def conv(inputs: int, outputs: int) -> nnx.Conv:
            return nnx.Conv(
                inputs,
                outputs,
                (3, 3),
                strides=2,
                padding=((1, 1), (1, 1)),
                kernel_init=DECODER_INIT,
                use_bias=False,
                kernel_metadata={"axes": (None, None, None, "embed")},
                dtype=dtype,
                rngs=rngs,
            )

        self.convs = nnx.List([conv(*pair) for pair in itertools.pairwise(channels)])
        self.norms = nnx.List([layer_norm(one, epsilon=1e-6, dtype=dtype, rngs=rngs) for one in channels[1:]])
        self.out = nnx.Linear(
            channels[-1],
            outputs,
            kernel_init=init,
            kernel_metadata={"axes": (None, "embed")},
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, image: Float[Array, "n h w c"]) -> Float[Array, "n gh gw d"]:
        """Return the map of tokens; sides must be multiples of `size`."""
        return self.with_maps(image)[0]

    def with_maps(
        self, image: Float[Array, "n h w c"]
    ) -> tuple[Float[Array, "n gh gw d"], tuple[Float[Array, "n _ _ _"], ...]]:
        """Return the map of tokens, and the map after each convolution, half as large as the one before."""
        maps = []
        for conv, norm in zip(self.convs, self.norms, strict=True):
            image = gelu(norm(conv(image)))
            maps.append(image)
        return self.out(image), tuple(maps)
