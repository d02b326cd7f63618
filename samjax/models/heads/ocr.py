"""Object-contextual representations: each pixel attends to what the photo shows of each class (Yuan et al. 2020)."""

from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.random import Rows
from samjax.core.ranges import Count, DropRate, Range, config_class
from samjax.models.backbone import BackboneConfig
from samjax.models.heads.head import HeadConfig, HeadOutput
from samjax.nn.batch_norm import Training, in_training
from samjax.nn.conv_norm import ConvNorm
from samjax.nn.drop_path import drop_channels
from samjax.nn.init import VIT_INIT
from samjax.nn.interpolate import interpolate


@config_class("model.head")
class OcrConfig(HeadConfig):
    """Sizes of an OCR head. The defaults are HRFormer's.

    RITM's has `auxiliary_kernel` 1, all channels of its maps as `auxiliary_width`, and no `attention_bias`.
    """

    ALIGN_CORNERS = True

    width: Count = 512
    """Channels of pixels and of classes."""
    key_width: Count = 256
    """Channels in which a pixel is compared with a class."""
    auxiliary_width: Count = 512
    """Channels from which the auxiliary logits are made."""
    auxiliary_kernel: Annotated[int, Range(one_of=(1, 3), why="it is the kernel of the auxiliary convolution")] = 3
    """Side of the kernel that makes those channels."""
    attention_bias: bool = True
    """Whether convolutions of the attention, and the one after it, have a bias beside their norm."""
    dropout: DropRate = 0.05
    """Rate at which channels of a photo are dropped before the classes."""

    def make(self, *, encoder: BackboneConfig, classes: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> "OcrHead":
        """Return the head of a backbone's maps."""
        return OcrHead(self, channels=encoder.channels, classes=classes, dtype=dtype, rngs=rngs)


class OcrHead(nnx.Module):
    """Maps of any strides in, logits at the stride of the first out; `channels` are the maps', the finest first.

    The auxiliary logits are also what the head gathers a representation of each class by, in training or not.
    """

    def __init__(self, config: OcrConfig, *, channels: tuple[int, ...], classes: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.dropout = config.dropout
        inputs, width, relu = sum(channels), config.width, jax.nn.relu

        def linear(inputs: int) -> nnx.Linear:
            return nnx.Linear(
                inputs,
                classes,
                kernel_init=VIT_INIT,
                kernel_metadata={"axes": ("embed", None)},
                dtype=dtype,
                rngs=rngs,
            )

        self.project = ConvNorm(inputs, width, 3, use_bias=True, activation=relu, dtype=dtype, rngs=rngs)
        self.auxiliary = ConvNorm(
            inputs,
            config.auxiliary_width,
            config.auxiliary_kernel,
            use_bias=True,
            activation=relu,
            dtype=dtype,
            rngs=rngs,
        )
        self.classify_auxiliary = linear(config.auxiliary_width)
        self.attention = ObjectAttention(config, dtype=dtype, rngs=rngs)
        self.mix = ConvNorm(
            2 * width, width, 1, use_bias=config.attention_bias, activation=relu, dtype=dtype, rngs=rngs
        )
        self.classify = linear(width)

    def __call__(
        self,
        maps: tuple[Float[Array, "b _ _ _"], ...],
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> HeadOutput:
        """Return the logits, at the resolution of the first map, and the auxiliary ones."""
        size, training = (maps[0].shape[1], maps[0].shape[2]), in_training(key, rows)
        together = jnp.concatenate([interpolate(one, size, align_corners=True) for one in maps], axis=-1)
        auxiliary = self.classify_auxiliary(self.auxiliary(together, training=training))
        pixels = self.project(together, training=training)
        context = self.attention(pixels, gather(pixels, auxiliary), training=training)
        mixed = self.mix(jnp.concatenate([context, pixels], axis=-1), training=training)
        logits = self.classify(drop_channels(mixed, self.dropout, key, rows))
        return HeadOutput(logits=logits, auxiliary=(auxiliary,))


def gather(pixels: Float[Array, "b h w d"], logits: Float[Array, "b h w classes"]) -> Float[Array, "b classes d"]:
    """Return each class's mean of all pixels, weighted by a softmax of its logits over the pixels, in float32."""
    weights = jax.nn.softmax(logits.astype(jnp.float32), axis=(1, 2)).astype(pixels.dtype)
    return jnp.einsum("bhwk,bhwd->bkd", weights, pixels)


class ObjectAttention(nnx.Module):
    """Attention of pixels to classes, in one head; softmax over the classes in float32."""

    def __init__(self, config: OcrConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        width, inner = config.width, config.key_width

        def conv(inputs: int, outputs: int) -> ConvNorm:
            return ConvNorm(
                inputs,
                outputs,
                1,
                use_bias=config.attention_bias,
                activation=jax.nn.relu,
                dtype=dtype,
                rngs=rngs,
            )

        self.query = nnx.List([conv(width, inner), conv(inner, inner)])
        self.key = nnx.List([conv(width, inner), conv(inner, inner)])
        self.value, self.out = conv(width, inner), conv(inner, width)

    def __call__(
        self, pixels: Float[Array, "b h w d"], objects: Float[Array, "b classes d"], *, training: Training
    ) -> Float[Array, "b h w d"]:
        """Return what each pixel takes from the classes."""
        query, key = pixels, objects
        for of_pixels, of_objects in zip(self.query, self.key, strict=True):
            query, key = of_pixels(query, training=training), of_objects(key, training=training)
        scores = jnp.einsum("bhwd,bkd->bhwk", query, key, preferred_element_type=jnp.float32) * key.shape[-1] ** -0.5
        value = self.value(objects, training=training)
        weights = jax.nn.softmax(scores, axis=-1).astype(value.dtype)
        return self.out(jnp.einsum("bhwk,bkd->bhwd", weights, value), training=training)
