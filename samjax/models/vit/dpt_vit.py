"""DPT's backbone (Ranftl et al. 2021): a ViT, or a hybrid's ResNet and ViT, whose maps take up the class token."""

import dataclasses
import math

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.errors import UserError
from samjax.core.random import Rows
from samjax.core.ranges import CountOrNone, Pixels, config_class
from samjax.core.tree import LayerIds
from samjax.models.backbone import BackboneConfig
from samjax.models.multiples import check_frame
from samjax.models.resnet import ResNet, ResNetConfig
from samjax.models.vit.blocks import BlockSizes, Epsilon
from samjax.models.vit.readout import ProjectReadout
from samjax.models.vit.vit import Vit, VitConfig
from samjax.nn.interpolate import Method

MULTIPLE = 32
"""Sides of a photo are multiples of it and of the patch: the head halves the map of patches, and doubles it again."""


@config_class("model.encoder")
class DptVitConfig(BlockSizes, BackboneConfig):
    """A ViT with a class token, whose tapped maps are returned. The defaults are DPT-Base's."""

    patch: Pixels = 16
    """Side of a patch, which becomes one token, in pixels. A hybrid's is the stride of its ResNet."""
    taps: tuple[CountOrNone, ...] = (2, 5, 8, 11)
    """Blocks, numbered from 0 and rising, whose maps are returned."""
    resnet: ResNetConfig | None = None
    """Of a hybrid, the network whose last map the ViT sees; the maps of its other stages are returned first."""
    table_size: tuple[Pixels, Pixels] = (384, 384)
    """Height and width of the photos that the table of positions is made for, in pixels. For photos of any other size
    it is resized bilinearly."""
    epsilon: Epsilon = 1e-6
    """Added to the variance in the norms of the ViT's blocks."""

    def __post_init__(self):
        super().__post_init__()
        if self.resnet is not None and self.resnet.strides[-1] != self.patch:
            raise UserError(
                f"model.encoder.patch is {self.patch}, but the last map of model.encoder.resnet has a stride of "
                f"{self.resnet.strides[-1]}; set patch to it"
            )
        check_frame("model.encoder.table_size", self.table_size, self.patch)
        self.vit()  # refuses what it cannot be

    def vit(self) -> VitConfig:
        """Return the ViT, which sees the photo or the last map of the ResNet."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(BlockSizes)}
        return VitConfig(
            **fields,
            epsilon=self.epsilon,
            patch=self.patch if self.resnet is None else 1,
            class_token=True,
            class_position=True,
            position_resize=Method.BILINEAR,
            final_norm=False,
            taps=self.taps,
        )

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the photo to a token of each map: those of a hybrid's ResNet, then those of the taps."""
        first = () if self.resnet is None else self.resnet.strides[:-1]
        return (*first, *(self.patch for _ in self.taps))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each map."""
        first = () if self.resnet is None else self.resnet.channels[:-1]
        return (*first, *(self.width for _ in self.taps))

    @property
    def layers(self) -> int:
        """What makes tokens of the photo, every block, and the readouts."""
        return self.depth + 2

    def layer_ids(self, prefix: str) -> LayerIds:
        """Return the layer of each parameter: 0 for what makes tokens of the photo, a ResNet too, i + 1 for block i;
        readouts, which no pretraining has, follow the last block."""
        return (
            (f"{prefix}/resnet/*", 0),
            *self.vit().layer_ids(f"{prefix}/vit"),
            (f"{prefix}/readouts/*", self.depth + 1),
        )

    def check_photos(self, name: str, size: tuple[int, int]) -> None:
        """Refuse photos of `size` = (height, width), called `name` by their user.

        Raises:
          UserError: a side is no multiple of 32, or of the patch.
        """
        check_frame(name, size, math.lcm(MULTIPLE, self.patch))

    def make(self, *, image_size: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs) -> "DptVit":
        """Return a backbone with initial parameters.

        Raises:
          UserError: see `check_photos`.
        """
        self.check_photos("model.image_size", image_size)
        return DptVit(self, dtype=dtype, rngs=rngs)


class DptVit(nnx.Module):
    """A ViT whose tapped maps take up the class token; of a hybrid, a ResNet before it."""

    def __init__(self, config: DptVitConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.config = config
        height, width = config.table_size
        resnet = config.resnet
        self.resnet = None if resnet is None else ResNet(resnet, dtype=dtype, rngs=rngs)
        self.vit = Vit(
            config.vit(),
            grid=(height // config.patch, width // config.patch),
            inputs=3 if resnet is None else resnet.channels[-1],
            dtype=dtype,
            rngs=rngs,
        )
        self.readouts = nnx.List([ProjectReadout(config.width, dtype=dtype, rngs=rngs) for _ in config.taps])

    def __call__(
        self, image: Float[Array, "b h w 3"], *, key: Key[Array, ""] | None = None, rows: Rows | None = None
    ) -> tuple[Float[Array, "b _ _ _"], ...]:
        """Return the maps of normalised photos, the finest first; a `key` turns drop path on, `rows` is as for `Vit`.

        Raises:
          UserError: see `DptVitConfig.check_photos`.
        """
        self.config.check_photos("the photos' size", (image.shape[1], image.shape[2]))
        first = ()
        if self.resnet is not None:
            *first, image = self.resnet(image)
        features = self.vit.features(image, key=key, rows=rows)
        taps = zip(self.readouts, features.taps, features.tap_tokens, strict=True)
        return (*first, *(readout(tokens, class_token) for readout, tokens, class_token in taps))
