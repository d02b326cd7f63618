"""SegFormer's head: each map through a linear layer of its own, all mixed by another (Xie et al. 2021)."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.ranges import Count, DropRate, config_class
from samjax.nn.batch_norm import BatchNorm
from samjax.nn.drop_path import dropout
from samjax.nn.init import VIT_INIT


@config_class("model.head")
class AllMlpConfig:
    """Sizes of SegFormer's head. The defaults are those of B2 to B5; B0 and B1 have a width of 256."""

    width: Count = 768
    """Channels to which every map is brought."""
    dropout: DropRate = 0.1
    """Rate at which channels of a photo are dropped before the classes."""


class AllMlpHead(nnx.Module):
    """Maps of any strides in, logits at the stride of the first out.

    `channels` are the maps', the finest first. Dropout is of whole channels, as in the authors' code.
    """

    def __init__(
        self, config: AllMlpConfig, *, channels: tuple[int, ...], classes: int, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        self.dropout = config.dropout

        def linear(inputs: int, outputs: int, *, use_bias: bool = True) -> nnx.Linear:
            return nnx.Linear(
                inputs,
                outputs,
                use_bias=use_bias,
                kernel_init=VIT_INIT,
                kernel_metadata={"axes": ("embed", None)},
                dtype=dtype,
                rngs=rngs,
            )

        self.project = nnx.List([linear(one, config.width) for one in channels])
        self.mix = linear(config.width * len(channels), config.width, use_bias=False)
        self.norm = BatchNorm(config.width, dtype=dtype, rngs=rngs)
        self.classify = linear(config.width, classes)

    def __call__(
        self, maps: tuple[Float[Array, "b _ _ _"], ...], *, key: Key[Array, ""] | None = None
    ) -> Float[Array, "b h w classes"]:
        """Return the logits; a `key` means training: dropout, and the norm of the batch's own statistics."""
        size, parts = (maps[0].shape[1], maps[0].shape[2]), self._parts()
        levels = [
            _resize(project(one) @ part, size) for project, one, part in zip(self.project, maps, parts, strict=True)
        ]
        mixed = functools.reduce(jnp.add, levels)
        mixed = jax.nn.relu(self.norm(mixed, training=key is not None))
        if key is not None:
            mixed = _drop_channels(mixed, self.dropout, key)
        return self.classify(mixed)

    def _parts(self) -> list[Float[Array, "w w"]]:
        """Return the rows of the mixing kernel that each map meets; the published one takes the coarsest map first.

        Mixing goes before enlarging, which it commutes with: on the coarsest map it costs a 64th.
        """
        return jnp.split(self.mix.kernel[...].astype(self.mix.dtype), len(self.project))[::-1]


def _resize(tokens: Float[Array, "b i j c"], size: tuple[int, int]) -> Float[Array, "b h w c"]:
    """Enlarge bilinearly, as PyTorch's `interpolate` with `align_corners=False`."""
    if tokens.shape[1:3] == size:
        return tokens
    return jax.image.resize(tokens, (len(tokens), *size, tokens.shape[-1]), "linear", antialias=False)


def _drop_channels(tokens: Float[Array, "b h w c"], rate: float, key: Key[Array, ""]) -> Float[Array, "b h w c"]:
    """Drop whole channels of each photo, scale the rest by 1 / (1 - rate)."""
    kept = dropout(jnp.ones((len(tokens), 1, 1, tokens.shape[-1]), tokens.dtype), rate, key)
    return tokens * kept
