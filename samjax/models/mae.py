"""Masked autoencoders: a ViT that learns from photos alone, by filling in the patches it is not shown (He et al. 2022).

Segment Anything's image encoder starts from one.
"""

from dataclasses import field, replace
from typing import ClassVar, Literal

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Int, Key, UInt8

from samjax.core.errors import UserError
from samjax.core.random import Rows
from samjax.core.ranges import Count, Pixels, config_class
from samjax.core.struct import struct
from samjax.core.tree import LayerIds
from samjax.models.multiples import check_frame, check_multiples
from samjax.models.vit.blocks import BlocksConfig, apply_groups, stack_groups
from samjax.models.vit.vit import Positions, Stem, Vit, VitConfig, VitFeatures
from samjax.nn.init import XAVIER, XAVIER_PATCH, Buffer, parameter
from samjax.nn.norm import layer_norm
from samjax.nn.pixels import normalise
from samjax.nn.sin_cos import sin_cos_table

Image = UInt8[Array, "b h w 3"] | Float[Array, "b h w 3"]


@config_class("model.decoder")
class MaeDecoderConfig:
    """The blocks that reconstruct hidden patches; they are discarded after pretraining."""

    width: Count = 512
    """Channels of a token, a multiple of the heads and of four."""
    depth: Count = 8
    """Number of blocks. One is as good for fine-tuning, and saves a sixth of the time of ViT-L (Table 1a)."""
    heads: Count = 16
    """Number of attention heads of a block."""

    def __post_init__(self):
        check_multiples(("model.decoder.width", self.width, self.heads), ("model.decoder.width", self.width, 4))


def _encoder(**sizes) -> VitConfig:
    return VitConfig(class_token=True, positions=Positions.SIN_COS, **sizes)


@config_class("model")
class MaeConfig:
    """A masked autoencoder. `vit_b`, `vit_l` and `vit_h` are the paper's; `small` and `tiny` are for laptops."""

    WORDS: ClassVar[str] = "a masked autoencoder"
    """What such a model is, in errors."""

    image_size: tuple[Pixels, Pixels] = (224, 224)
    """The model's frame, (height, width) in pixels, multiples of the patch."""
    encoder: VitConfig = field(default_factory=_encoder)
    decoder: MaeDecoderConfig = field(default_factory=MaeDecoderConfig)
    visible: Count = 49
    """Patches per photo that the encoder sees; the others are hidden. The paper shows a quarter, rounded down."""
    normalise_targets: bool = True
    """Whether each patch to predict is scaled to zero mean and unit variance."""
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of activations and matrix products. Parameters, positions, softmax, norms' statistics and loss are float32."""

    def __post_init__(self):
        check_frame("model.image_size", self.image_size, self.encoder.patch)
        if self.visible >= self.tokens:
            raise UserError(
                f"model.visible is {self.visible}, but a photo has {self.tokens} patches; hide at least one, the paper "
                f"shows {max(1, self.tokens // 4)}"
            )
        if self.encoder.stem is not Stem.PATCHES:
            raise UserError("model.encoder.stem must be PATCHES: convolutions would show the encoder hidden patches")
        if not self.encoder.takes_sequences:
            raise UserError(
                "model.encoder sees some of a photo's patches, so it can have no windows and no relative positions: "
                "set global_every to 1 and relative_positions to False"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Patches of a photo, (height, width)."""
        return self.image_size[0] // self.encoder.patch, self.image_size[1] // self.encoder.patch

    @property
    def tokens(self) -> int:
        """Patches of a photo, N."""
        return self.grid[0] * self.grid[1]

    @property
    def compute_dtype(self) -> jnp.dtype:
        """`dtype` as JAX's."""
        return jnp.dtype(self.dtype)

    @property
    def decoder_blocks(self) -> BlocksConfig:
        """The decoder's blocks; norms, rematerialisation and attention kernel are the encoder's."""
        sizes, encoder = self.decoder, self.encoder
        return BlocksConfig(
            width=sizes.width,
            depth=sizes.depth,
            heads=sizes.heads,
            epsilon=encoder.epsilon,
            remat=encoder.remat,
            attention=encoder.attention,
        )

    def layer_ids(self) -> LayerIds:
        """Return the layer of every parameter, for layer-wise decay; the decoder follows the encoder."""
        return (*self.encoder.layer_ids("encoder"), ("*", self.encoder.depth + 1))

    def make(self, *, rngs: nnx.Rngs) -> "Mae":
        """Return a model with initial parameters."""
        return Mae(self, rngs=rngs)

    @classmethod
    def vit_b(cls, **changes) -> "MaeConfig":
        """ViT-B/16, 85.6 million parameters and a decoder of 26.0 million; `changes` to any field."""
        return replace(cls(), **changes)

    @classmethod
    def vit_l(cls, **changes) -> "MaeConfig":
        """ViT-L/16, 303.1 million parameters and a decoder of 26.1 million."""
        return replace(cls(encoder=_encoder(width=1024, depth=24, heads=16)), **changes)

    @classmethod
    def vit_h(cls, **changes) -> "MaeConfig":
        """ViT-H/14, 630.4 million parameters and a decoder of 26.2 million."""
        return replace(cls(encoder=_encoder(patch=14, width=1280, depth=32, heads=16), visible=64), **changes)

    @classmethod
    def small(cls, **changes) -> "MaeConfig":
        """A laptop's model, 256 px, whose encoder has the blocks of `SamConfig.small`."""
        base = cls(
            image_size=(256, 256),
            encoder=_encoder(width=192, depth=6, heads=3),
            decoder=MaeDecoderConfig(width=96, depth=2, heads=3),
            visible=64,
            dtype="float32",
        )
        return replace(base, **changes)

    @classmethod
    def tiny(cls, **changes) -> "MaeConfig":
        """A test's model, 64 px, a tenth of a second per step on two cores."""
        base = cls(
            image_size=(64, 64),
            encoder=_encoder(patch=8, width=48, depth=3, heads=3),
            decoder=MaeDecoderConfig(width=32, depth=2, heads=2),
            visible=16,
            dtype="float32",
        )
        return replace(base, **changes)


@struct
class Reconstruction:
    """What the decoder makes of a photo, patch by patch in reading order."""

    predictions: Float32[Array, "b n pixels"]
    """Pixels of each patch in the order (row, column, channel), as `Mae.targets` has them."""
    hidden: Bool[Array, "b n"]
    """Which patches the encoder did not see."""


class MaeDecoder(nnx.Module):
    """Puts a mask token in place of each hidden patch, and predicts the pixels of every patch."""

    def __init__(self, config: MaeConfig, *, rngs: nnx.Rngs):
        dtype, width, own = config.compute_dtype, config.decoder.width, config.encoder.extra_tokens

        def linear(inputs: int, outputs: int) -> nnx.Linear:
            return nnx.Linear(
                inputs, outputs, kernel_init=XAVIER, kernel_metadata={"axes": ("embed", None)}, dtype=dtype, rngs=rngs
            )

        self.config, self.own, self.dtype = config.decoder_blocks, own, dtype
        self.embed = linear(config.encoder.width, width)
        self.mask_token = parameter(nnx.initializers.normal(0.02), (width,), axes=("embed",), rngs=rngs)
        self.position = Buffer(sin_cos_table(config.grid, width), axes=(None, None, "embed"))
        self.groups = stack_groups(self.config, grid=config.grid, dtype=dtype, init=XAVIER, rngs=rngs)
        self.norm = layer_norm(width, epsilon=self.config.epsilon, dtype=dtype, rngs=rngs)
        self.predict = linear(width, 3 * config.encoder.patch**2)

    def __call__(self, seen: Float[Array, "b s d"], restore: Int[Array, "b n"]) -> Float32[Array, "b n pixels"]:
        """Predict all patches.

        Args:
          seen: the encoder's tokens, the class token first if it has one.
          restore: for each patch its index among those seen, or one beyond them.
        """
        tokens = self.embed(seen)
        own, shown = tokens[:, : self.own], tokens[:, self.own :]
        count, width = restore.shape[1] - shown.shape[1], tokens.shape[-1]
        masks = jnp.broadcast_to(self.mask_token[...].astype(self.dtype), (tokens.shape[0], count, width))
        tokens = jnp.take_along_axis(jnp.concatenate([shown, masks], axis=1), restore[..., None], axis=1)
        tokens = tokens + self.position[...].reshape(-1, width).astype(self.dtype)
        tokens, _ = apply_groups(self.groups, jnp.concatenate([own, tokens], axis=1), self.config)
        return self.predict(self.norm(tokens))[:, self.own :].astype(jnp.float32)


class Mae(nnx.Module):
    """A masked autoencoder (He et al., CVPR 2022).

    ```python
    output = model(image, jax.random.uniform(key, (len(image), config.tokens)))
    loss = model.loss(output.predictions, model.targets(image), output.hidden)
    ```
    """

    def __init__(self, config: MaeConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.encoder = Vit(
            config.encoder,
            grid=config.grid,
            dtype=config.compute_dtype,
            init=XAVIER,
            patch_init=XAVIER_PATCH,
            rngs=rngs,
        )
        self.decoder = MaeDecoder(config, rngs=rngs)

    def __call__(
        self, image: Image, noise: Float[Array, "b n"], *, key: Key[Array, ""] | None = None, rows: Rows | None = None
    ) -> Reconstruction:
        """Hide most of each photo and predict it.

        Args:
          image: photos; uint8 ones are normalised, others are as `nn.pixels.normalise` returns them.
          noise: a number per patch; those with the `visible` smallest are seen. Uniform noise hides uniformly.
          key: turns the encoder's drop path on.
          rows: of a part of a batch, which photos of the whole batch it holds.
        """
        order = jnp.argsort(noise, axis=1)
        restore = jnp.argsort(order, axis=1)
        patches = einops.rearrange(self.encoder.embed(_pixels(image)), "b h w d -> b (h w) d")
        seen = jnp.take_along_axis(patches, order[:, : self.config.visible, None], axis=1)
        tokens, _ = self.encoder.attend(seen, key=key, rows=rows)
        return Reconstruction(predictions=self.decoder(tokens, restore), hidden=restore >= self.config.visible)

    def encode(self, image: Image) -> VitFeatures:
        """Encode whole photos, with nothing hidden."""
        return self.encoder.features(_pixels(image))

    def targets(self, image: Image) -> Float32[Array, "b n pixels"]:
        """Return what is to be predicted: each patch's pixels, (row, column, channel), normalised if so configured."""
        patches = self.patches(image)
        if not self.config.normalise_targets:
            return patches
        mean, deviation = _statistics(patches)
        return (patches - mean) / deviation

    def patches(self, image: Image) -> Float32[Array, "b n pixels"]:
        """Return each patch's pixels, (row, column, channel), of the normalised photos."""
        patch = self.config.encoder.patch
        return einops.rearrange(
            _pixels(image).astype(jnp.float32), "b (h p) (w q) c -> b (h w) (p q c)", p=patch, q=patch
        )

    def predicted_patches(
        self, predictions: Float32[Array, "b n pixels"], image: Image
    ) -> Float32[Array, "b n pixels"]:
        """Return predictions as patches of normalised photos.

        Predictions of normalised targets are scaled by the mean and deviation of the true patch, which the model does
        not know: without them a picture looks like noise.
        """
        if not self.config.normalise_targets:
            return predictions
        mean, deviation = _statistics(self.patches(image))
        return predictions * deviation + mean

    @staticmethod
    def loss(
        predictions: Float32[Array, "b n pixels"],
        targets: Float32[Array, "b n pixels"],
        hidden: Bool[Array, "b n"],
        *,
        valid: Bool[Array, "b"] | None = None,
    ) -> Float32[Array, ""]:
        """Return the mean squared error over the hidden patches, of the photos where `valid` is True."""
        counted = hidden if valid is None else hidden & valid[:, None]
        error = jnp.where(counted, jnp.square(predictions - targets).mean(axis=-1), 0)
        return error.sum() / jnp.maximum(counted.sum(), 1)


def _statistics(
    patches: Float32[Array, "b n pixels"],
) -> tuple[Float32[Array, "b n 1"], Float32[Array, "b n 1"]]:
    """Return each patch's mean and deviation; the variance is the unbiased one, as in the published code."""
    mean, variance = patches.mean(axis=-1, keepdims=True), patches.var(axis=-1, ddof=1, keepdims=True)
    return mean, jnp.sqrt(variance + 1e-6)


def _pixels(image: Image) -> jax.Array:
    return normalise(image) if image.dtype == jnp.uint8 else image
