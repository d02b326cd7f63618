"""The ViT image encoder (Segment Anything, section 3; ViTDet)."""

import dataclasses

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.random import Rows
from samjax.core.ranges import Count, Pixels, config_class
from samjax.models.sam.details import Details
from samjax.models.vit.blocks import BlockSizes
from samjax.models.vit.vit import Stem, Vit, VitConfig
from samjax.nn.conv_stem import stem_channels
from samjax.nn.init import VIT_INIT
from samjax.nn.norm import layer_norm


@config_class("model.image_encoder")
class ImageEncoderConfig(BlockSizes):
    """A plain ViT with windowed attention, every `global_every`-th block global (ViTDet). The defaults are ViT-H's."""

    patch: Pixels = 16
    """Side of a patch, which becomes one token, in pixels."""
    stem: Stem = Stem.PATCHES
    """What makes tokens of pixels: a product with each patch, as in the paper, or 3 x 3 convolutions of stride 2, with
    which small models learn faster."""
    width: Count = 1280
    """Channels of a token, a multiple of the heads."""
    depth: Count = 32
    """Number of blocks, a multiple of `global_every`."""
    heads: Count = 16
    """Number of attention heads of a block."""
    global_every: Count = 8
    """The last block of each group of this many attends globally; depth is a multiple of it. 1 makes every block
    global."""

    def vit(self) -> VitConfig:
        """Return the encoder without its neck."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return VitConfig(**fields, relative_positions=True, final_norm=False)


class ImageEncoder(Vit):
    """Photo in, embedding out, at a `patch`-th of its resolution: a plain ViT and a neck.

    `grid` is the (height, width) of the embedding, in tokens, and `embedding` its channels. With `details` those of the
    stem's maps follow, see `samjax.models.sam.details`.
    """

    def __init__(
        self,
        config: ImageEncoderConfig,
        *,
        grid: tuple[int, int],
        embedding: int,
        details: bool = False,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        super().__init__(config.vit(), grid=grid, dtype=dtype, rngs=rngs)
        self.neck = Neck(config.width, embedding, dtype=dtype, rngs=rngs)
        channels = stem_channels(3, config.width, config.patch)
        self.details = Details(channels, embedding, dtype=dtype, rngs=rngs) if details else None

    def __call__(
        self, image: Float[Array, "b h w 3"], *, key: Key[Array, ""] | None = None, rows: Rows | None = None
    ) -> Float[Array, "b gh gw c"]:
        """Encode normalised photos; a `key` turns drop path on, `rows` is as for `Vit.attend`. float32 out."""
        features = self.features(image, key=key, rows=rows)
        embedding = self.neck(features.map)
        if self.details is not None:
            embedding = jnp.concatenate([embedding, self.details(features.stem)], axis=-1)
        return embedding.astype(jnp.float32)


class Neck(nnx.Module):
    """1 x 1 and 3 x 3 convolutions to the embedding's channels, each followed by a norm."""

    def __init__(self, width: int, embedding: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.conv1 = nnx.Linear(
            width,
            embedding,
            use_bias=False,
            kernel_init=VIT_INIT,
            kernel_metadata={"axes": ("embed", None)},
            dtype=dtype,
            rngs=rngs,
        )
        self.norm1 = layer_norm(embedding, epsilon=1e-6, dtype=dtype, rngs=rngs)
        self.conv2 = nnx.Conv(
            embedding,
            embedding,
            (3, 3),
            use_bias=False,
            kernel_init=VIT_INIT,
            kernel_metadata={"axes": (None, None, "embed", None)},
            dtype=dtype,
            rngs=rngs,
        )
        self.norm2 = layer_norm(embedding, epsilon=1e-6, dtype=dtype, rngs=rngs)

    def __call__(self, tokens: Float[Array, "b h w d"]) -> Float[Array, "b h w c"]:
        """Project the last block's tokens."""
        return self.norm2(self.conv2(self.norm1(self.conv1(tokens))))
