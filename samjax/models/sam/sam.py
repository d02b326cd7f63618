"""The whole model, from a photo's bytes to masks."""

from collections.abc import Callable
from dataclasses import field, replace
from typing import Annotated, ClassVar, Literal

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key, UInt8

from samjax.core.errors import UserError
from samjax.core.prompts import MaskOutput, Prompts
from samjax.core.random import Rows
from samjax.core.ranges import Count, Pixels, Range, config_class
from samjax.core.struct import struct
from samjax.core.tree import LayerIds
from samjax.models.multiples import check_frame, check_multiples
from samjax.models.sam.details import FINEST, embedding_channels
from samjax.models.sam.image_encoder import ImageEncoder, ImageEncoderConfig
from samjax.models.sam.mask_decoder import DecodedMasks, MaskDecoder, MaskDecoderConfig
from samjax.models.sam.prompt_encoder import PromptEncoder
from samjax.models.vit.vit import Stem
from samjax.nn.pixels import PixelStatistics, normalise

Decode = Callable[[Prompts, Key[Array, "b m"] | None], DecodedMasks]


@config_class("model")
class SamConfig:
    """A whole model. `vit_b`, `vit_l` and `vit_h` are the paper's; `tiny` and `small` are for laptops."""

    WORDS: ClassVar[str] = "a Segment Anything model"
    """What such a model is, in errors."""

    image_size: tuple[Pixels, Pixels] = (1024, 1024)
    """The model's frame, (height, width) in pixels, multiples of the patch."""
    embedding: Count = 256
    """Channels of the image embedding, of the prompts and of the decoder."""
    details: bool = False
    """Whether a convolutional stem's maps at two and four times the embedding's resolution also reach the masks, as in
    SAM 2: small objects get their outlines from there. No other codebase's SAM has them."""
    position_scale: Annotated[float, Range(above=0, why="it multiplies frequencies")] = 1.0
    """Of the random frequencies that encode places. With the paper's 1 two places a twelfth of the frame apart are
    still 0.6 alike: smaller neighbours need more, in proportion. `init_from` weights of another scale have theirs
    scaled."""
    mask_prompt_channels: Annotated[int, Range(at_least=4, why="its first layer has a quarter of them")] = 16
    """Channels that a mask prompt passes through on its way to the embedding's."""
    pixel_statistics: PixelStatistics = PixelStatistics.IMAGENET
    """Whose mean and standard deviation photos are normalised with: ImageNet's, or each photo's own, for instruments
    whose exposure differs from photo to photo. No other codebase's SAM has the second."""
    image_encoder: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)
    mask_decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of activations and matrix products. Parameters, positions, softmax, norms' statistics and masks are float32."""

    def __post_init__(self):
        check_frame("model.image_size", self.image_size, self.image_encoder.patch)
        check_multiples(
            ("model.embedding", self.embedding, 2 * self.mask_decoder.heads), ("model.embedding", self.embedding, 8)
        )
        encoder = self.image_encoder
        if self.details and (encoder.stem is not Stem.CONVOLUTIONS or encoder.patch < 2 * FINEST):
            raise UserError(
                f"model.details needs a stem with maps at up to {FINEST} times the embedding's resolution: give "
                f"model.image-encoder.stem CONVOLUTIONS and a patch of at least {2 * FINEST}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens of the image embedding, (height, width)."""
        return self.image_size[0] // self.image_encoder.patch, self.image_size[1] // self.image_encoder.patch

    @property
    def embedding_shape(self) -> tuple[int, int, int]:
        """Of a photo's embedding, (height, width, channels); channels are `embedding`, and more with `details`."""
        return (*self.grid, embedding_channels(self.embedding) if self.details else self.embedding)

    @property
    def logits_size(self) -> tuple[int, int]:
        """Resolution of predicted masks and of mask prompts, (height, width): four times the grid."""
        return 4 * self.grid[0], 4 * self.grid[1]

    @property
    def compute_dtype(self) -> jnp.dtype:
        """`dtype` as JAX's."""
        return jnp.dtype(self.dtype)

    def layer_ids(self) -> LayerIds:
        """Return the layer of every parameter, for layer-wise decay: neck, prompts and decoder follow the encoder."""
        encoder = self.image_encoder.vit()
        return (*encoder.layer_ids("image_encoder"), ("*", encoder.depth + 1))

    def make(self, *, rngs: nnx.Rngs) -> "Sam":
        """Return a model with initial parameters."""
        return Sam(self, rngs=rngs)

    @classmethod
    def vit_h(cls, **changes) -> "SamConfig":
        """ViT-H, 641,090,608 parameters; `changes` to any field."""
        return replace(cls(), **changes)

    @classmethod
    def vit_l(cls, **changes) -> "SamConfig":
        """ViT-L, 312,342,832 parameters."""
        return cls.vit_h(image_encoder=ImageEncoderConfig(width=1024, depth=24, heads=16, global_every=6), **changes)

    @classmethod
    def vit_b(cls, **changes) -> "SamConfig":
        """ViT-B, 93,735,472 parameters."""
        return cls.vit_h(image_encoder=ImageEncoderConfig(width=768, depth=12, heads=12, global_every=3), **changes)

    @classmethod
    def small(cls, **changes) -> "SamConfig":
        """A laptop's model, 256 px, learns a few photos in an hour on two cores."""
        base = cls(
            image_size=(256, 256),
            embedding=128,
            image_encoder=ImageEncoderConfig(width=192, depth=6, heads=3, window=8, global_every=3),
            mask_decoder=MaskDecoderConfig(hidden=512, heads=4, dropout=0.0),
            dtype="float32",
        )
        return replace(base, **changes)

    @classmethod
    def tiny(cls, **changes) -> "SamConfig":
        """A test's model, 128 px, a second a step on two cores."""
        base = cls(
            image_size=(128, 128),
            embedding=128,
            image_encoder=ImageEncoderConfig(width=96, depth=4, heads=3, window=5, global_every=2),
            mask_decoder=MaskDecoderConfig(hidden=128, heads=4, dropout=0.0),
            dtype="float32",
        )
        return replace(base, **changes)


class Sam(nnx.Module):
    """Segment Anything (Kirillov et al., ICCV 2023)."""

    def __init__(self, config: SamConfig, *, rngs: nnx.Rngs):
        embedding, dtype = config.embedding, config.compute_dtype
        self.pixel_statistics = config.pixel_statistics
        self.image_encoder = ImageEncoder(
            config.image_encoder,
            grid=config.grid,
            embedding=embedding,
            details=config.details,
            dtype=dtype,
            rngs=rngs,
        )
        self.prompt_encoder = PromptEncoder(
            embedding,
            image_size=config.image_size,
            grid=config.grid,
            mask_channels=config.mask_prompt_channels,
            position_scale=config.position_scale,
            dtype=dtype,
            rngs=rngs,
        )
        self.mask_decoder = MaskDecoder(config.mask_decoder, embedding=embedding, dtype=dtype, rngs=rngs)

    def encode(
        self,
        image: UInt8[Array, "b h w 3"],
        valid_size: Int[Array, "b 2"],
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> Float[Array, "b gh gw c"]:
        """Embed photos that lie in the top-left `valid_size` corner of the model's frame.

        A `key` turns drop path on; `rows` says which photos of a whole batch these are, None that they are all.
        """
        pixels = normalise(image, valid_size, self.pixel_statistics)
        return self.image_encoder(pixels, key=key, rows=rows)

    def decode(
        self, embedding: Float[Array, "b gh gw c"], prompts: Prompts, *, keys: Key[Array, "b m"] | None = None
    ) -> MaskOutput:
        """Predict the prompted masks on ready embeddings; a key for each mask turns dropout on."""
        return self.decoder(embedding)(prompts, keys).every()

    def decoder(self, embedding: Float[Array, "b gh gw c"]) -> Decode:
        """Return `decode` on these embeddings, as the annotator calls it: it paints the masks it asks for."""
        return self.prompting.decoder(embedding)

    @property
    def prompting(self) -> "Prompting":
        """The part of the model that decodes prompts on an embedding."""
        return Prompting(prompt_encoder=self.prompt_encoder, mask_decoder=self.mask_decoder)


@struct
class Prompting:
    """Prompt encoder and mask decoder: what is differentiated for each group of masks, apart from the encoder."""

    prompt_encoder: PromptEncoder
    mask_decoder: MaskDecoder

    def decoder(self, embedding: Float[Array, "b gh gw c"]) -> Decode:
        """See `Sam.decoder`."""

        def decode(prompts: Prompts, keys: Key[Array, "b m"] | None) -> DecodedMasks:
            positions = self.prompt_encoder.dense_positions()
            return self.mask_decoder(embedding, self.prompt_encoder(prompts), image_positions=positions, keys=keys)

        return decode
