"""A backbone and a head: logits for every pixel of a photo."""

from dataclasses import field
from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Int, Key, UInt8

from samjax.core.errors import UserError
from samjax.core.random import Rows, split_each
from samjax.core.ranges import Count, Pixels, Shade, config_class
from samjax.core.tree import LayerIds
from samjax.models.backbone import BackboneConfig
from samjax.models.dense_prediction.dpt_sizes import DptSizes
from samjax.models.dense_prediction.hrformer_sizes import HrFormerSizes
from samjax.models.dense_prediction.pvt_sizes import PvtSizes
from samjax.models.dense_prediction.segformer_sizes import SegFormerSizes
from samjax.models.dense_prediction.segmenter_sizes import SegmenterSizes
from samjax.models.dense_prediction.setr_sizes import SetrSizes
from samjax.models.heads.all_mlp import AllMlpConfig
from samjax.models.heads.head import HeadConfig, HeadOutput
from samjax.models.pyramid.pyramid import PyramidConfig
from samjax.models.swin.swin import SwinConfig  # noqa: F401  a kind of backbone that files may name
from samjax.nn.interpolate import Method, interpolate, matrix
from samjax.nn.pixels import PixelStatistics, normalise_once


@config_class("model")
class DenseConfig(DptSizes, SegFormerSizes, SetrSizes, SegmenterSizes, HrFormerSizes, PvtSizes):
    """A model for dense prediction: any backbone with any head. Published ones are classmethods."""

    WORDS: ClassVar[str] = "a dense prediction model"
    """What such a model is, in errors."""

    image_size: tuple[Pixels, Pixels] = (512, 512)
    """The model's frame, (height, width) in pixels: that of training's crops and of sliding windows."""
    classes: Count = 150
    """Channels of the logits; 1 for depth."""
    class_names: tuple[str, ...] = ()
    """The classes' names in their order; empty where nobody knows them. Training takes them from its records."""
    class_colours: tuple[tuple[Shade, Shade, Shade], ...] = ()
    """Red, green and blue of each class in pictures; empty chooses them by the classes' numbers."""
    pixel_statistics: PixelStatistics = PixelStatistics.IMAGENET
    """The mean and standard deviation that photos are normalised with."""
    encoder: BackboneConfig = field(default_factory=PyramidConfig)
    """The backbone; its class is the kind."""
    head: HeadConfig = field(default_factory=AllMlpConfig)
    """What makes logits of the backbone's maps; its class is the kind."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of activations and matrix products. Parameters, softmax, norms' statistics, logits and loss are float32."""

    def __post_init__(self):
        for name in ("class_names", "class_colours"):
            given = getattr(self, name)
            if given and len(given) != self.classes:
                raise UserError(f"model.{name} has {len(given)} entries, but model.classes is {self.classes}")
        needed, maps = self.head.MAPS, len(self.encoder.channels)
        if needed is not None and needed != maps:
            raise UserError(
                f"model.head is {type(self.head).__name__}, which takes {needed} maps, but model.encoder gives {maps}"
            )

    @property
    def compute_dtype(self) -> jnp.dtype:
        """`dtype` as JAX's."""
        return jnp.dtype(self.dtype)

    def layer_ids(self) -> LayerIds:
        """Return the layer of every parameter, for layer-wise decay; the head follows the backbone."""
        return (*self.encoder.layer_ids("encoder"), ("*", self.encoder.layers))

    def make(self, *, rngs: nnx.Rngs) -> "DenseModel":
        """Return a model with initial parameters."""
        return DenseModel(self, rngs=rngs)


class DenseModel(nnx.Module):
    """A backbone and a head."""

    def __init__(self, config: DenseConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.encoder = config.encoder.make(image_size=config.image_size, dtype=config.compute_dtype, rngs=rngs)
        self.head = config.head.make(
            encoder=config.encoder, classes=config.classes, dtype=config.compute_dtype, rngs=rngs
        )

    def __call__(
        self,
        image: UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"],
        valid_size: Int[Array, "b 2"] | None = None,
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> HeadOutput:
        """Return logits at the head's resolution.

        Args:
          image: photos; uint8 ones are normalised, others are as `nn.pixels.normalise` returns them.
          valid_size: the (height, width) that each uint8 photo fills from the top left, None where it fills its frame.
          key: means training, see `BackboneConfig` and `HeadConfig`.
          rows: of a part of a batch, which photos of the whole batch it holds.
        """
        of_encoder, of_head = (None, None) if key is None else split_each(key, 2)
        pixels = normalise_once(image, valid_size, self.config.pixel_statistics)
        return self.head(self.encoder(pixels, key=of_encoder, rows=rows), key=of_head, rows=rows)

    def logits(
        self, image: UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"], valid_size: Int[Array, "b 2"] | None = None
    ) -> Float32[Array, "b h w classes"]:
        """Return logits for every pixel."""
        return self.enlarge(self(image, valid_size).logits, (image.shape[1], image.shape[2]))

    def enlarge(
        self, logits: Float[Array, "b gh gw classes"], size: tuple[int, int]
    ) -> Float32[Array, "b h w classes"]:
        """Return logits enlarged bilinearly to `size` = (height, width), as the head's authors do."""
        aligned = self.config.head.ALIGN_CORNERS
        return interpolate(logits.astype(jnp.float32), size, align_corners=aligned)

    def enlargement(
        self, grid: tuple[int, int], size: tuple[int, int]
    ) -> tuple[Float32[np.ndarray, "h gh"], Float32[np.ndarray, "w gw"]]:
        """Return the matrices by which `enlarge` brings rows and columns of a `grid` to `size`."""
        aligned = self.config.head.ALIGN_CORNERS
        rows, columns = (
            matrix(old, new, method=Method.BILINEAR, align_corners=aligned).astype(np.float32)
            for old, new in zip(grid, size, strict=True)
        )
        return rows, columns
