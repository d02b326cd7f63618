"""Segmenter's mask transformer: a learned token for each class attends together with the photo's (Strudel et al. 2021).

A class's logits are the cosines between its token and the photo's, normalised over the classes.
"""

from typing import ClassVar

import einops
import jax.numpy as jnp
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Float, Float32, Key

from samjax.core.errors import UserError
from samjax.core.random import Rows
from samjax.core.ranges import Count, DropRate, config_class
from samjax.models.backbone import BackboneConfig
from samjax.models.heads.head import HeadConfig, HeadOutput
from samjax.models.vit.blocks import BlocksConfig, Epsilon, apply_groups, stack_groups
from samjax.nn.init import VIT_INIT, parameter
from samjax.nn.norm import layer_norm


@config_class("model.head")
class MaskTransformerConfig(HeadConfig):
    """Sizes of Segmenter's head, which is as wide as the last map. The defaults are the authors'.

    Its last norm is over the classes: of two it leaves only which is larger, and no gradient.
    """

    LEAST_CLASSES: ClassVar[int] = 3

    depth: Count = 2
    """Number of blocks."""
    head_channels: Count = 64
    """Channels of an attention head; the map's are a multiple."""
    mlp_ratio: Count = 4
    """Hidden units of a block's MLP for each channel."""
    epsilon: Epsilon = 1e-5
    """Added to the variance in every norm."""
    drop_path: DropRate = 0.0
    """Rate at which the last block is dropped in training; it rises linearly from 0 at the first."""
    dropout: DropRate = 0.1
    """Rate at which units are dropped in training: of what attention and MLPs give, and of the MLPs' hidden ones."""

    def make(self, *, encoder: BackboneConfig, classes: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> "MaskTransformerHead":
        """Return the head of a backbone's last map.

        Raises:
          UserError: the map's channels are no multiple of an attention head's.
        """
        return MaskTransformerHead(self, channels=encoder.channels[-1], classes=classes, dtype=dtype, rngs=rngs)


class MaskTransformerHead(nnx.Module):
    """Maps in, logits at the last one's resolution out, float32; `channels` are that one's."""

    def __init__(self, config: MaskTransformerConfig, *, channels: int, classes: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        if channels % config.head_channels:
            raise UserError(
                f"model.encoder's last map has {channels} channels; they must be a multiple of "
                f"model.head.head_channels, {config.head_channels}"
            )
        self.dropout = config.dropout
        self.blocks = BlocksConfig(
            width=channels,
            depth=config.depth,
            heads=channels // config.head_channels,
            mlp_ratio=config.mlp_ratio,
            epsilon=config.epsilon,
            drop_path=config.drop_path,
        )

        def linear(init: Initializer, *, use_bias: bool) -> nnx.Linear:
            return nnx.Linear(
                channels,
                channels,
                use_bias=use_bias,
                kernel_init=init,
                kernel_metadata={"axes": ("embed", None)},
                dtype=dtype,
                rngs=rngs,
            )

        self.project = linear(VIT_INIT, use_bias=True)
        self.class_tokens = parameter(VIT_INIT, (classes, channels), axes=(None, "embed"), rngs=rngs)
        self.groups = stack_groups(self.blocks, grid=(1, 1), dtype=dtype, rngs=rngs)
        self.norm = layer_norm(channels, epsilon=config.epsilon, dtype=dtype, rngs=rngs)
        fan_in = nnx.initializers.normal(channels**-0.5)
        self.project_patches, self.project_classes = linear(fan_in, use_bias=False), linear(fan_in, use_bias=False)
        self.class_norm = layer_norm(classes, epsilon=config.epsilon, dtype=jnp.dtype("float32"), rngs=rngs)

    def __call__(
        self,
        maps: tuple[Float[Array, "b _ _ _"], ...],
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> HeadOutput:
        """Return the logits; a `key` turns drop path and dropout on."""
        patches = self.project(einops.rearrange(maps[-1], "b h w d -> b (h w) d"))
        classes = self.class_tokens[...].astype(patches.dtype)
        tokens = jnp.concatenate([patches, jnp.broadcast_to(classes, (patches.shape[0], *classes.shape))], axis=1)
        tokens, _ = apply_groups(self.groups, tokens, self.blocks, rate=self.dropout, key=key, rows=rows)
        patches, classes = jnp.split(self.norm(tokens), [patches.shape[1]], axis=1)
        patches, classes = _unit(self.project_patches(patches)), _unit(self.project_classes(classes))
        logits = self.class_norm(jnp.einsum("bnd,bcd->bnc", patches, classes, precision="highest"))
        return HeadOutput(logits=logits.reshape(*maps[-1].shape[:3], -1))


def _unit(vectors: Float[Array, "b n d"]) -> Float32[Array, "b n d"]:
    """Return vectors of length 1. float32: the norm over classes enlarges what their cosines lose to rounding."""
    vectors = vectors.astype(jnp.float32)
    return vectors / jnp.linalg.norm(vectors, axis=-1, keepdims=True)
