"""Mask2Former (Cheng et al. 2022): a photo in; a class and a mask of each query out."""

from dataclasses import field, replace
from typing import ClassVar, Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from samjax.core.errors import UserError
from samjax.core.random import Rows
from samjax.core.ranges import Count, Pixels, config_class
from samjax.core.tree import LayerIds
from samjax.models.backbone import BackboneConfig
from samjax.models.query_masks.deformable_decoder import DeformableDecoder
from samjax.models.query_masks.mask2former_sizes import Mask2FormerSizes
from samjax.models.query_masks.masked_decoder import MaskedDecoder, QueryMasks
from samjax.models.swin.swin import SwinConfig
from samjax.nn.pixels import PixelStatistics, normalise_once


@config_class("model")
class Mask2FormerConfig:
    """A backbone of four maps with Mask2Former's decoders. The defaults are Swin-T's for 133 classes."""

    WORDS: ClassVar[str] = "a model of queries"
    """What such a model is, in errors."""

    image_size: tuple[Pixels, Pixels] = (1024, 1024)
    """The model's frame, (height, width) in pixels: that of training's crops."""
    classes: Count = 133
    """How many there are, without "none"."""
    class_names: tuple[str, ...] = ()
    """The classes' names in their order; empty where nobody knows them. Training takes them from its records."""
    class_things: tuple[bool, ...] = ()
    """Of each class, whether it can be counted; empty means that all can. Training takes it from its records."""
    pixel_statistics: PixelStatistics = PixelStatistics.IMAGENET
    """The mean and standard deviation that photos are normalised with."""
    encoder: BackboneConfig = field(default_factory=SwinConfig)
    """The backbone; its class is the kind."""
    decoder: Mask2FormerSizes = field(default_factory=Mask2FormerSizes)
    """Sizes of what follows."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of activations and matrix products. Parameters, softmax, norms' statistics, places of deformable attention and
    logits are float32."""

    def __post_init__(self):
        for name in ("class_names", "class_things"):
            given = getattr(self, name)
            if given and len(given) != self.classes:
                raise UserError(f"model.{name} has {len(given)} entries, but model.classes is {self.classes}")
        maps = len(self.encoder.channels)
        if maps != self.decoder.MAPS:
            raise UserError(f"Mask2Former takes {self.decoder.MAPS} maps, but model.encoder gives {maps}")

    @property
    def things(self) -> tuple[bool, ...]:
        """Of each class, whether it can be counted."""
        return self.class_things or (True,) * self.classes

    def layer_ids(self) -> LayerIds:
        """Return the layer of every parameter, for layer-wise decay; the decoders follow the backbone."""
        return (*self.encoder.layer_ids("encoder"), ("*", self.encoder.layers))

    def make(self, *, rngs: nnx.Rngs) -> "Mask2Former":
        """Return a model with initial parameters."""
        return Mask2Former(self, rngs=rngs)

    @classmethod
    def swin_t(cls, **changes) -> "Mask2FormerConfig":
        """Swin-T, 47.4 million parameters with 133 classes; `changes` to any field."""
        return replace(cls(), **changes)

    @classmethod
    def swin_s(cls, **changes) -> "Mask2FormerConfig":
        """Swin-S, 68.7 million."""
        return replace(cls(encoder=SwinConfig.swin_s()), **changes)

    @classmethod
    def swin_b(cls, **changes) -> "Mask2FormerConfig":
        """Swin-B, 106.9 million."""
        return replace(cls(encoder=SwinConfig.swin_b()), **changes)

    @classmethod
    def swin_l(cls, **changes) -> "Mask2FormerConfig":
        """Swin-L with 200 queries, 215.5 million."""
        return replace(cls(encoder=SwinConfig.swin_l(), decoder=Mask2FormerSizes(queries=200)), **changes)


class Mask2Former(nnx.Module):
    """A backbone, a pixel decoder and a transformer decoder."""

    def __init__(self, config: Mask2FormerConfig, *, rngs: nnx.Rngs):
        self.config = config
        dtype = jnp.dtype(config.dtype)
        self.encoder = config.encoder.make(image_size=config.image_size, dtype=dtype, rngs=rngs)
        self.pixel_decoder = DeformableDecoder(config.decoder, config.encoder.channels, dtype=dtype, rngs=rngs)
        self.decoder = MaskedDecoder(config.decoder, config.classes, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        image: UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"],
        valid_size: Int[Array, "b 2"] | None = None,
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> QueryMasks:
        """Return what the queries say of photos: uint8, or normalised already.

        Args:
          image: the photos, of any size.
          valid_size: the (height, width) that each uint8 photo fills from the top left, None where it fills its frame.
          key: means training, see `BackboneConfig`.
          rows: of a part of a batch, which photos of the whole batch it holds.
        """
        pixels = normalise_once(image, valid_size, self.config.pixel_statistics)
        maps, mask_map = self.pixel_decoder(self.encoder(pixels, key=key, rows=rows))
        return self.decoder(maps, mask_map)
