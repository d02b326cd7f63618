"""SETR's heads of one map, Naive and PUP: convolutions, each followed by enlargement (Zheng et al. 2021, section 3.2).

PUP enlarges twofold at a time, "progressive upsampling"; Naive has one pointwise convolution and leaves it to the end.
"""

from dataclasses import replace
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.random import Rows
from samjax.core.ranges import Count, config_class
from samjax.models.backbone import BackboneConfig
from samjax.models.heads.head import HeadConfig, HeadOutput
from samjax.nn.batch_norm import Training, in_training
from samjax.nn.conv_norm import ConvNorm
from samjax.nn.init import CLASSIFIER_INIT
from samjax.nn.interpolate import interpolate

Factors = tuple[Count, ...]


@config_class("model.head")
class ProgressiveConfig(HeadConfig):
    """Sizes of a head of the last map. The defaults are PUP's; `naive` makes the other.

    SETR's maps come with a norm each, see `TappedVitConfig.map_norms`.
    """

    width: Count = 256
    """Channels of every convolution."""
    kernel: Literal[1, 3] = 3
    """Side of the convolutions' kernels."""
    factors: Factors = (2, 2, 2, 1)
    """A convolution each: how many times larger on each side the map becomes after it. The model enlarges the logits to
    the photo, PUP's twofold."""
    use_bias: bool = True
    """Whether convolutions have a bias, as the authors' have; mmsegmentation's have none."""
    auxiliary: bool = False
    """Whether every earlier map has a head of its own, for training alone."""
    auxiliary_factors: Factors = (4,)
    """The same of those heads."""

    @classmethod
    def naive(cls, **changes) -> "ProgressiveConfig":
        """Return Naive's sizes; `changes` to any field."""
        return replace(cls(kernel=1, factors=(1,), auxiliary_factors=(1,)), **changes)

    def make(self, *, encoder: BackboneConfig, classes: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> "ProgressiveHead":
        """Return the head of a backbone's maps."""
        return ProgressiveHead(self, channels=encoder.channels, classes=classes, dtype=dtype, rngs=rngs)


class ProgressiveHead(nnx.Module):
    """Maps in, logits of the last out, and auxiliary ones of each map before it. `channels` are the maps'."""

    def __init__(
        self, config: ProgressiveConfig, *, channels: tuple[int, ...], classes: int, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        def branch(inputs: int, factors: Factors) -> Branch:
            return Branch(config, inputs, factors, classes=classes, dtype=dtype, rngs=rngs)

        self.main = branch(channels[-1], config.factors)
        earlier = channels[:-1] if config.auxiliary else ()
        self.auxiliary = nnx.List([branch(one, config.auxiliary_factors) for one in earlier])

    def __call__(
        self,
        maps: tuple[Float[Array, "b _ _ _"], ...],
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> HeadOutput:
        """Return the logits; a `key` means training, nothing is drawn from it."""
        training = in_training(key, rows)
        return HeadOutput(
            logits=self.main(maps[-1], training=training),
            auxiliary=tuple(branch(one, training=training) for branch, one in zip(self.auxiliary, maps, strict=False)),
        )


class Branch(nnx.Module):
    """A map's convolutions and classes."""

    def __init__(
        self,
        config: ProgressiveConfig,
        inputs: int,
        factors: Factors,
        *,
        classes: int,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.factors = factors
        self.convolutions = nnx.List(
            [
                ConvNorm(
                    config.width if index else inputs,
                    config.width,
                    config.kernel,
                    use_bias=config.use_bias,
                    activation=jax.nn.relu,
                    dtype=dtype,
                    rngs=rngs,
                )
                for index in range(len(factors))
            ]
        )
        self.classify = nnx.Linear(
            config.width,
            classes,
            kernel_init=CLASSIFIER_INIT,
            kernel_metadata={"axes": ("embed", None)},
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, x: Float[Array, "b h w c"], *, training: Training) -> Float[Array, "b th tw classes"]:
        """Return the logits. Classes commute with the last enlargement and come before it: there are fewer pixels."""
        factor = 1
        for convolution, following in zip(self.convolutions, self.factors, strict=True):
            x, factor = convolution(_enlarge(x, factor), training=training), following
        return _enlarge(self.classify(x), factor)


def _enlarge(x: Float[Array, "b h w c"], factor: int) -> Float[Array, "b th tw c"]:
    return interpolate(x, (x.shape[1] * factor, x.shape[2] * factor))
