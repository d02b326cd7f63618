"""SegFormer's head: each map through a linear layer of its own, all mixed by another (Xie et al. 2021)."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.random import Rows
from samjax.core.ranges import Count, DropRate, config_class
from samjax.models.backbone import BackboneConfig
from samjax.models.heads.head import HeadConfig, HeadOutput
from samjax.nn.batch_norm import BatchNorm, in_training
from samjax.nn.drop_path import drop_channels
from samjax.nn.init import VIT_INIT
from samjax.nn.interpolate import interpolate


@config_class("model.head")
class AllMlpConfig(HeadConfig):
    """Sizes of SegFormer's head. The defaults are those of B2 to B5; B0 and B1 have a width of 256."""

    width: Count = 768
    """Channels to which every map is brought."""
    dropout: DropRate = 0.1
    """Rate at which channels of a photo are dropped before the classes."""

    def make(self, *, encoder: BackboneConfig, classes: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> "AllMlpHead":
        """Return the head of a backbone's maps."""
        return AllMlpHead(self, channels=encoder.channels, classes=classes, dtype=dtype, rngs=rngs)


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
        self,
        maps: tuple[Float[Array, "b _ _ _"], ...],
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> HeadOutput:
        """Return the logits, at the resolution of the first map."""
        size, parts = (maps[0].shape[1], maps[0].shape[2]), self._parts()
        levels = [
            interpolate(project(one) @ part, size) for project, one, part in zip(self.project, maps, parts, strict=True)
        ]
        mixed = functools.reduce(jnp.add, levels)
        mixed = jax.nn.relu(self.norm(mixed, training=in_training(key, rows)))
        return HeadOutput(logits=self.classify(drop_channels(mixed, self.dropout, key, rows)))

    def _parts(self) -> list[Float[Array, "w w"]]:
        """Return the rows of the mixing kernel that each map meets; the published one takes the coarsest map first.

        Mixing goes before enlarging, which it commutes with: on the coarsest map it costs a 64th.
        """
        return jnp.split(self.mix.kernel[...].astype(self.mix.dtype), len(self.project))[::-1]
