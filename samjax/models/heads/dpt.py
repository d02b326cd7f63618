"""DPT's heads: inverse depth and classes of the fused maps (Ranftl et al. 2021)."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.errors import UserError
from samjax.core.random import Rows, draw_rows, split_each
from samjax.core.ranges import Count, DropRate, config_class
from samjax.models.backbone import BackboneConfig
from samjax.models.heads.dpt_fusion import DptFusion, DptFusionSizes, conv3x3, double, pointwise
from samjax.models.heads.head import HeadConfig, HeadOutput
from samjax.nn.batch_norm import in_training
from samjax.nn.conv_norm import ConvNorm
from samjax.nn.drop_path import dropout


@config_class("model.head")
class DptDepthConfig(DptFusionSizes, HeadConfig):
    """Sizes of the head for depth. Its one channel is inverse depth up to scale and shift, at least 0."""

    ALIGN_CORNERS: ClassVar[bool] = True
    GIVES_DEPTH: ClassVar[bool] = True
    MAPS: ClassVar[int | None] = 4

    batch_norm: bool = False
    """Whether the units of the fusion have batch norms."""
    hidden: Count = 32
    """Channels before the last layer, at the photo's resolution."""

    def make(self, *, encoder: BackboneConfig, classes: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> "DptDepthHead":
        """Return the head of a backbone's maps.

        Raises:
          UserError: there is more than one channel, or maps have strides that it cannot fuse.
        """
        if classes != 1:
            raise UserError(f"model.classes is {classes}, but DPT's head for depth has one channel; set it to 1")
        return DptDepthHead(self, encoder=encoder, dtype=dtype, rngs=rngs)


@config_class("model.head")
class DptSegmentationConfig(DptFusionSizes, HeadConfig):
    """Sizes of the head for segmentation."""

    ALIGN_CORNERS: ClassVar[bool] = True
    MAPS: ClassVar[int | None] = 4

    batch_norm: bool = True
    """Whether the units of the fusion have batch norms."""
    dropout: DropRate = 0.1
    """Rate at which numbers are dropped before the classes."""
    auxiliary: bool = True
    """Whether the second finest fused map has classes of its own, for training alone."""

    def make(self, *, encoder: BackboneConfig, classes: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> "DptSegmentationHead":
        """Return the head of a backbone's maps.

        Raises:
          UserError: maps have strides that it cannot fuse.
        """
        return DptSegmentationHead(self, encoder=encoder, classes=classes, dtype=dtype, rngs=rngs)


class DptDepthHead(nnx.Module):
    """Four maps in, inverse depth at the photo's resolution out."""

    def __init__(self, config: DptDepthConfig, *, encoder: BackboneConfig, dtype: jnp.dtype, rngs: nnx.Rngs):
        half = max(1, config.width // 2)
        self.fusion = DptFusion(config, encoder=encoder, batch_norm=config.batch_norm, dtype=dtype, rngs=rngs)
        self.conv1 = conv3x3(config.width, half, dtype=dtype, rngs=rngs)
        self.conv2 = conv3x3(half, config.hidden, dtype=dtype, rngs=rngs)
        self.out = pointwise(config.hidden, 1, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        maps: tuple[Float[Array, "b _ _ _"], ...],
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> HeadOutput:
        """Return the inverse depth, none of which is negative. A `key` means training; nothing is drawn from it."""
        finest, *_ = self.fusion(maps, training=in_training(key, rows))
        hidden = jax.nn.relu(self.conv2(double(self.conv1(finest))))
        return HeadOutput(logits=jax.nn.relu(self.out(hidden)))


class Classifier(nnx.Module):
    """A 3 x 3 convolution, batch norm, dropout, and a linear layer to the classes."""

    def __init__(self, width: int, classes: int, *, rate: float, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.rate = rate
        self.conv = ConvNorm(width, width, 3, activation=jax.nn.relu, dtype=dtype, rngs=rngs)
        self.classify = pointwise(width, classes, dtype=dtype, rngs=rngs)

    def __call__(
        self, maps: Float[Array, "b h w c"], key: Key[Array, ""] | None, rows: Rows | None
    ) -> Float[Array, "b h w classes"]:
        """Return logits; a `key` means training."""
        hidden = self.conv(maps, training=in_training(key, rows))
        of_photos = None
        if key is not None:
            of_photos = draw_rows(lambda photos: jax.random.split(key, photos), len(maps), rows)
        return self.classify(dropout(hidden, self.rate, of_photos))


class DptSegmentationHead(nnx.Module):
    """Four maps in, logits at half the photo's resolution out; the model enlarges them."""

    def __init__(
        self,
        config: DptSegmentationConfig,
        *,
        encoder: BackboneConfig,
        classes: int,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        def classifier() -> Classifier:
            return Classifier(config.width, classes, rate=config.dropout, dtype=dtype, rngs=rngs)

        self.fusion = DptFusion(config, encoder=encoder, batch_norm=config.batch_norm, dtype=dtype, rngs=rngs)
        self.main = classifier()
        self.auxiliary = classifier() if config.auxiliary else None

    def __call__(
        self,
        maps: tuple[Float[Array, "b _ _ _"], ...],
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> HeadOutput:
        """Return the logits, and in training those of the second finest fused map, of a quarter of the resolution."""
        finest, second, *_ = self.fusion(maps, training=in_training(key, rows))
        of_main, of_auxiliary = (None, None) if key is None else split_each(key, 2)
        logits = self.main(finest, of_main, rows)
        if key is None or self.auxiliary is None:
            return HeadOutput(logits=logits)
        return HeadOutput(logits=logits, auxiliary=(self.auxiliary(second, of_auxiliary, rows),))
