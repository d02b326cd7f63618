"""SETR's multi-level aggregation, MLA: maps of one size, each summed with all deeper ones (Zheng et al. 2021, 3.2)."""

import itertools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.errors import UserError
from samjax.core.random import Rows
from samjax.core.ranges import Count, config_class
from samjax.models.backbone import BackboneConfig
from samjax.models.heads.head import HeadConfig, HeadOutput
from samjax.nn.batch_norm import in_training
from samjax.nn.conv_norm import ConvNorm
from samjax.nn.init import CLASSIFIER_INIT
from samjax.nn.interpolate import interpolate

FACTOR = 4
"""How many times larger on each side the logits are than the maps."""


@config_class("model.head")
class MlaConfig(HeadConfig):
    """Sizes of SETR's MLA head. The defaults are the authors'.

    mmsegmentation published another network under this name: `deepest_first`, no `align_corners`, a `kernel` of 1 and
    an `auxiliary_bias`. SETR's maps come with a norm each, see `TappedVitConfig.map_norms`.
    """

    width: Count = 256
    """Channels to which every map is brought, and in which they are summed."""
    level_width: Count = 128
    """Channels of each map where all are put side by side."""
    kernel: Literal[1, 3] = 3
    """Side of the kernel of the last convolution, which makes the logits."""
    deepest_first: bool = False
    """Whether that convolution sees the deepest map in its first channels, instead of the earliest."""
    align_corners: bool = True
    """Whether the maps are enlarged before it with the corners' centres in place."""
    auxiliary: bool = False
    """Whether every summed map has logits of its own, for training alone."""
    auxiliary_bias: bool = False
    """Whether these have a bias."""

    def make(self, *, encoder: BackboneConfig, classes: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> "MlaHead":
        """Return the head of a backbone's maps.

        Raises:
          UserError: they are not of one size.
        """
        if len(set(encoder.strides)) > 1:
            raise UserError(f"model.head is MlaConfig, which sums maps of one stride; theirs are {encoder.strides}")
        return MlaHead(self, channels=encoder.channels, classes=classes, dtype=dtype, rngs=rngs)


class MlaHead(nnx.Module):
    """Maps of one size in, logits at four times their resolution out. `channels` are the maps', the earliest first."""

    def __init__(self, config: MlaConfig, *, channels: tuple[int, ...], classes: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.config = config
        width, level_width = config.width, config.level_width

        def layer(inputs: int, outputs: int, kernel: int) -> ConvNorm:
            return ConvNorm(inputs, outputs, kernel, activation=jax.nn.relu, dtype=dtype, rngs=rngs)

        self.lateral = nnx.List([layer(one, width, 1) for one in channels])
        self.smooth = nnx.List([layer(width, width, 3) for _ in channels])
        self.narrow = nnx.List([layer(width, level_width, 3) for _ in channels])
        self.mix = nnx.List([layer(level_width, level_width, 3) for _ in channels])
        self.classify = nnx.Conv(
            level_width * len(channels),
            classes,
            (config.kernel, config.kernel),
            kernel_init=CLASSIFIER_INIT,
            kernel_metadata={"axes": (None, None, "embed", None)},
            dtype=dtype,
            rngs=rngs,
        )
        self.auxiliary = nnx.List(
            [
                nnx.Linear(
                    width,
                    classes,
                    use_bias=config.auxiliary_bias,
                    kernel_init=CLASSIFIER_INIT,
                    kernel_metadata={"axes": ("embed", None)},
                    dtype=dtype,
                    rngs=rngs,
                )
                for _ in range(len(channels) * config.auxiliary)
            ]
        )

    def __call__(
        self,
        maps: tuple[Float[Array, "b h w _"], ...],
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> HeadOutput:
        """Return the logits, auxiliary ones in the maps' order. A `key` means training; nothing is drawn from it."""
        training = in_training(key, rows)
        lateral = [layer(one, training=training) for layer, one in zip(self.lateral, maps, strict=True)]
        summed = list(itertools.accumulate(lateral[::-1], jnp.add))[::-1]
        levels = [layer(one, training=training) for layer, one in zip(self.smooth, summed, strict=True)]
        auxiliary = tuple(layer(one) for layer, one in zip(self.auxiliary, levels, strict=False))
        for layers in (self.narrow, self.mix):
            levels = [layer(one, training=training) for layer, one in zip(layers, levels, strict=True)]
        joined = jnp.concatenate(levels[::-1] if self.config.deepest_first else levels, axis=-1)
        size = joined.shape[1] * FACTOR, joined.shape[2] * FACTOR
        enlarged = interpolate(joined, size, align_corners=self.config.align_corners)
        return HeadOutput(logits=self.classify(enlarged), auxiliary=auxiliary)
