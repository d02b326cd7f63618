"""Sizes of a Segment Anything model."""

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Annotated, Any, ClassVar, Literal

import jax.numpy as jnp

from samjax.core.config import from_json
from samjax.core.errors import UserError
from samjax.core.ranges import Count, DropRate, Pixels, Range, config_class
from samjax.nn.spatial_attention import AttentionKernel
from samjax.nn.stack import Remat


@config_class("model.image_encoder")
class ImageEncoderConfig:
    """A plain ViT with windowed attention, every `global_every`-th block global (ViTDet)."""

    patch: Pixels = 16
    """Side of a patch, which becomes one token, in pixels."""
    width: Count = 1280
    """Channels of a token, a multiple of the heads."""
    depth: Count = 32
    """Number of blocks, a multiple of `global_every`."""
    heads: Count = 16
    """Number of attention heads of a block."""
    mlp_ratio: Count = 4
    """Hidden units of a block's MLP for each channel."""
    window: Count = 14
    """Side of a local attention window, in tokens."""
    global_every: Annotated[int, Range(at_least=2, why="each group has a windowed block and a global one")] = 8
    """The last block of each group of this many attends globally; depth is a multiple of it."""
    drop_path: DropRate = 0.0
    """Rate at which the last block is dropped in training; it rises linearly from 0 at the first."""
    remat: Remat = Remat.NONE
    """What a block keeps for the backward pass: everything, the results of dense layers, or its input alone. Less
    memory, more time."""
    attention: AttentionKernel = AttentionKernel.AUTO
    """Kernel that computes attention. All give the same result up to rounding; AUTO takes the platform's fastest."""


@config_class("model.mask_decoder")
class MaskDecoderConfig:
    """Two-way transformer and mask heads (Segment Anything, appendix A)."""

    depth: Count = 2
    """Number of two-way blocks."""
    heads: Count = 8
    """Number of attention heads of a block."""
    hidden: Count = 2048
    """Hidden units of a block's MLP."""
    dropout: DropRate = 0.1
    """On every residual branch in training. The paper's value; the released inference code has none."""


@config_class("model")
class SamConfig:
    """A whole model. `vit_b`, `vit_l` and `vit_h` are the paper's; `tiny` and `small` are for laptops."""

    WORDS: ClassVar[str] = "a Segment Anything model"

    image_size: tuple[Pixels, Pixels] = (1024, 1024)
    """The model's frame, (height, width) in pixels, multiples of the patch."""
    embedding: Count = 256
    """Channels of the image embedding, of the prompts and of the decoder."""
    mask_prompt_channels: Annotated[int, Range(at_least=4, why="its first layer has a quarter of them")] = 16
    """Channels that a mask prompt passes through on its way to the embedding's."""
    image_encoder: ImageEncoderConfig = field(default_factory=ImageEncoderConfig)
    mask_decoder: MaskDecoderConfig = field(default_factory=MaskDecoderConfig)
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Of activations and matrix products. Parameters, positions, softmax, norms' statistics and masks are float32."""

    def __post_init__(self):
        encoder = self.image_encoder
        for side in self.image_size:
            if side % encoder.patch:
                raise UserError(
                    f"model.image_size {self.image_size} is not a multiple of the patch, {encoder.patch}; "
                    f"use {max(1, round(side / encoder.patch)) * encoder.patch} instead of {side}"
                )
        for name, whole, part in [
            ("model.image_encoder.width", encoder.width, encoder.heads),
            ("model.image_encoder.depth", encoder.depth, encoder.global_every),
            ("model.embedding", self.embedding, 2 * self.mask_decoder.heads),
            ("model.embedding", self.embedding, 8),
        ]:
            if whole % part:
                raise UserError(f"{name} is {whole}; it must be a positive multiple of {part}")

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens of the image embedding, (height, width)."""
        return self.image_size[0] // self.image_encoder.patch, self.image_size[1] // self.image_encoder.patch

    @property
    def logits_size(self) -> tuple[int, int]:
        """Resolution of predicted masks and of mask prompts, (height, width): four times the grid."""
        return 4 * self.grid[0], 4 * self.grid[1]

    @property
    def compute_dtype(self) -> jnp.dtype:
        """`dtype` as JAX's."""
        return jnp.dtype(self.dtype)

    def make(self, *, rngs):
        """Return a `Sam` of these sizes."""
        from samjax.models.sam.sam import Sam

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


_EXECUTION = ("attention", "remat")
"""Fields of the image encoder's config that say how a run computes, not what its model is."""


def config_of_run(run: Mapping[str, Any], *, name: str) -> SamConfig:
    """Return the model's config out of that of a run or of imported weights, as JSON; `name` is whose, in errors.

    How the run computed is left out: its attention kernel may not run on this platform, so the config's is AUTO.

    Raises:
      UserError: it says nothing of a model, or of one that this version does not know.
    """
    if "model" not in run:
        raise UserError(f"{name}: its config describes no model; give a checkpoint of samjax train or samjax import")
    model = run["model"]
    if isinstance(model, Mapping) and isinstance(encoder := model.get("image_encoder"), Mapping):
        model = {**model, "image_encoder": {key: value for key, value in encoder.items() if key not in _EXECUTION}}
    return from_json(SamConfig, model, name=f"{name}: model")
