"""The feature pyramid: each map with what coarser ones say added (Lin et al. 2017)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from samjax.nn.init import XAVIER
from samjax.nn.interpolate import Method, interpolate

Maps = tuple[Float[Array, "b _ _ _"], ...]


class FeaturePyramid(nnx.Module):
    """Maps in, as many maps of `width` channels out; `channels` are the maps', the finest first.

    Each map goes through a linear layer, has the sum of the coarser ones added, whose pixels are repeated, and goes
    through a 3 x 3 convolution. There is no norm and no activation.
    """

    def __init__(self, channels: tuple[int, ...], width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.lateral = nnx.List(
            [
                nnx.Linear(
                    one,
                    width,
                    kernel_init=XAVIER,
                    kernel_metadata={"axes": (None, "embed")},
                    dtype=dtype,
                    rngs=rngs,
                )
                for one in channels
            ]
        )
        self.out = nnx.List(
            [
                nnx.Conv(
                    width,
                    width,
                    (3, 3),
                    padding=1,
                    kernel_init=XAVIER,
                    kernel_metadata={"axes": (None, None, None, "embed")},
                    dtype=dtype,
                    rngs=rngs,
                )
                for _ in channels
            ]
        )

    def __call__(self, maps: Maps) -> Maps:
        """Return the maps of the pyramid, of the same sizes."""
        levels = [lateral(one) for lateral, one in zip(self.lateral, maps, strict=True)]
        for level in range(len(levels) - 2, -1, -1):
            finer, coarser = levels[level], levels[level + 1]
            levels[level] = finer + interpolate(coarser, (finer.shape[1], finer.shape[2]), method=Method.NEAREST)
        return tuple(out(level) for out, level in zip(self.out, levels, strict=True))
