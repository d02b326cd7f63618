"""What a mask's upscaling sees of the photo beside its tokens: the stem's maps, finer than the embedding (Ravi et al.
2024, SAM 2, section 4: skip connections around the encoder).

A photo's details lie behind the channels of its embedding, those of a cell together, in the order in which the upscaler
makes the cell's pixels. So an embedding stays one array, for caches, exported halves and whoever passes it on.
"""

from collections.abc import Sequence

import einops
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from samjax.core.struct import struct

FINEST = 4
"""Times the embedding's resolution; a stem must have made a map of that size."""


def embedding_channels(embedding: int) -> int:
    """Return the channels of a cell of an embedding with details: its own, of 4 pixels and of 16 finer ones."""
    return embedding + 4 * (embedding // 4) + 16 * (embedding // 8)


@struct
class CellDetails:
    """The details of each of a photo's i cells, for all masks alike."""

    coarse: Float[Array, "b 1 i 2 2 q"]
    fine: Float[Array, "b 1 i 2 2 2 2 o"]


def split_details(image: Float[Array, "b i d"], embedding: int) -> tuple[Float[Array, "b i c"], CellDetails | None]:
    """Return the embedding's own channels, the first `embedding`, and the details behind them, if there are any."""
    if image.shape[-1] == embedding:
        return image, None
    own, coarse, fine = jnp.split(image, [embedding, embedding + 4 * (embedding // 4)], axis=-1)
    return own, CellDetails(
        coarse=einops.rearrange(coarse, "b i (y x q) -> b 1 i y x q", y=2, x=2),
        fine=einops.rearrange(fine, "b i (y x v u o) -> b 1 i y x v u o", y=2, x=2, v=2, u=2),
    )


class Details(nnx.Module):
    """1 x 1 convolutions of two of the stem's maps to the channels of the upscaler. They begin with zeros: at first a
    model is the same as without them."""

    def __init__(self, channels: Sequence[int], embedding: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        def linear(inputs: int, outputs: int) -> nnx.Linear:
            return nnx.Linear(
                inputs,
                outputs,
                use_bias=False,
                kernel_init=nnx.initializers.zeros,
                kernel_metadata={"axes": ("embed", None)},
                dtype=dtype,
                rngs=rngs,
            )

        *_, fine, coarse, _ = channels
        self.coarse, self.fine = linear(coarse, embedding // 4), linear(fine, embedding // 8)

    def __call__(self, maps: Sequence[Float[Array, "b _ _ _"]]) -> Float[Array, "b gh gw d"]:
        """Return the details of each cell from the stem's maps, the last of which has the embedding's resolution."""
        *_, fine, coarse, _ = maps
        return jnp.concatenate(
            [
                einops.rearrange(self.coarse(coarse), "b (h y) (w x) q -> b h w (y x q)", y=2, x=2),
                einops.rearrange(self.fine(fine), "b (h y v) (w x u) o -> b h w (y x v u o)", y=2, v=2, x=2, u=2),
            ],
            axis=-1,
        )
