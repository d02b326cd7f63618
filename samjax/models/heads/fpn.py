"""Semantic FPN: a feature pyramid whose levels are enlarged step by step and added (Kirillov et al. 2019)."""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.random import Rows
from samjax.core.ranges import Count, DropRate, config_class
from samjax.models.backbone import BackboneConfig
from samjax.models.heads.head import HeadConfig, HeadOutput
from samjax.nn.batch_norm import Training, in_training
from samjax.nn.conv_norm import ConvNorm
from samjax.nn.drop_path import drop_channels
from samjax.nn.feature_pyramid import FeaturePyramid
from samjax.nn.init import VIT_INIT
from samjax.nn.interpolate import interpolate


@config_class("model.head")
class FpnConfig(HeadConfig):
    """Sizes of a Semantic FPN. The defaults are PVT's."""

    pyramid_width: Count = 256
    """Channels of the feature pyramid's maps."""
    width: Count = 128
    """Channels of what the levels are enlarged as."""
    dropout: DropRate = 0.1
    """Rate at which channels of a photo are dropped before the classes."""

    def make(self, *, encoder: BackboneConfig, classes: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> "FpnHead":
        """Return the head of a backbone's maps."""
        return FpnHead(
            self, channels=encoder.channels, strides=encoder.strides, classes=classes, dtype=dtype, rngs=rngs
        )


class FpnHead(nnx.Module):
    """Maps in, logits at the stride of the first out.

    `channels` and `strides` are the maps', the finest first; each stride is the first's times a power of two.
    """

    def __init__(
        self,
        config: FpnConfig,
        *,
        channels: tuple[int, ...],
        strides: tuple[int, ...],
        classes: int,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.dropout = config.dropout
        self.pyramid = FeaturePyramid(channels, config.pyramid_width, dtype=dtype, rngs=rngs)
        self.levels = nnx.List(
            [
                Enlarge(config.pyramid_width, config.width, doublings=doublings, dtype=dtype, rngs=rngs)
                for doublings in level_doublings(strides)
            ]
        )
        self.classify = nnx.Linear(
            config.width,
            classes,
            kernel_init=VIT_INIT,
            kernel_metadata={"axes": ("embed", None)},
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(
        self,
        maps: tuple[Float[Array, "b _ _ _"], ...],
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> HeadOutput:
        """Return the logits, at the resolution of the first map."""
        size, training = (maps[0].shape[1], maps[0].shape[2]), in_training(key, rows)
        levels = [
            interpolate(enlarge(one, training=training), size)
            for enlarge, one in zip(self.levels, self.pyramid(maps), strict=True)
        ]
        total = functools.reduce(jnp.add, levels)
        return HeadOutput(logits=self.classify(drop_channels(total, self.dropout, key, rows)))


def level_doublings(strides: tuple[int, ...]) -> list[int]:
    """Return how often each level is doubled to come to the size of the first."""
    return [(stride // strides[0]).bit_length() - 1 for stride in strides]


class Enlarge(nnx.Module):
    """3 x 3 convolutions, after each of which the map is doubled bilinearly; one alone where it is not doubled."""

    def __init__(self, inputs: int, width: int, *, doublings: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.doublings = doublings
        self.steps = nnx.List(
            [
                ConvNorm(width if step else inputs, width, 3, activation=jax.nn.relu, dtype=dtype, rngs=rngs)
                for step in range(max(1, doublings))
            ]
        )

    def __call__(self, x: Float[Array, "b h w c"], *, training: Training) -> Float[Array, "b th tw d"]:
        """Apply it to a map."""
        for step in self.steps:
            x = step(x, training=training)
            if self.doublings:
                x = interpolate(x, (2 * x.shape[1], 2 * x.shape[2]))
        return x
