"""The ViT image encoder (Segment Anything, section 3; ViTDet)."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.models.sam.config import SamConfig
from samjax.nn.drop_path import drop_path
from samjax.nn.init import VIT_INIT, parameter
from samjax.nn.mlp import Mlp
from samjax.nn.norm import layer_norm
from samjax.nn.patch import Patchify
from samjax.nn.spatial_attention import SpatialAttention
from samjax.nn.stack import rematerialised, stack
from samjax.parallel.sharding import constrain


class Block(nnx.Module):
    """A pre-norm transformer block; `window` None attends globally."""

    def __init__(self, config: SamConfig, *, window: int | None, rngs: nnx.Rngs):
        encoder, dtype = config.image_encoder, config.compute_dtype
        self.norm1 = layer_norm(encoder.width, epsilon=1e-6, dtype=dtype, rngs=rngs)
        self.attention = SpatialAttention(
            encoder.width,
            encoder.heads,
            table_size=config.grid if window is None else (window, window),
            window=window,
            kernel=encoder.attention,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm2 = layer_norm(encoder.width, epsilon=1e-6, dtype=dtype, rngs=rngs)
        self.mlp = Mlp(encoder.width, encoder.width * encoder.mlp_ratio, dtype=dtype, rngs=rngs)

    def __call__(
        self, tokens: Float[Array, "b h w d"], drop_rate: Float[Array, ""], key: Key[Array, ""] | None
    ) -> Float[Array, "b h w d"]:
        """Apply; `key` None means no drop path."""
        keys = (None, None) if key is None else jax.random.split(key)
        tokens = tokens + drop_path(self.attention(self.norm1(tokens)), drop_rate, keys[0])
        tokens = tokens + drop_path(self.mlp(self.norm2(tokens)), drop_rate, keys[1])
        return constrain(tokens, "batch", None, None, None)


class BlockGroup(nnx.Module):
    """k windowed blocks, then a global one. Two stacks, since their position tables differ in shape."""

    def __init__(self, config: SamConfig, *, rngs: nnx.Rngs):
        encoder = config.image_encoder
        self.windowed = stack(
            lambda rngs: Block(config, window=encoder.window, rngs=rngs), encoder.global_every - 1, rngs=rngs
        )
        self.full = Block(config, window=None, rngs=rngs)


class ImageEncoder(nnx.Module):
    """Photo in, embedding out, at a `patch`-th of its resolution."""

    def __init__(self, config: SamConfig, *, rngs: nnx.Rngs):
        encoder, dtype = config.image_encoder, config.compute_dtype
        self.config = config
        self.patch_embed = Patchify(3, encoder.width, encoder.patch, init=VIT_INIT, dtype=dtype, rngs=rngs)
        self.position = parameter(VIT_INIT, (*config.grid, encoder.width), axes=(None, None, "embed"), rngs=rngs)
        groups = encoder.depth // encoder.global_every
        self.groups = stack(lambda rngs: BlockGroup(config, rngs=rngs), groups, rngs=rngs)
        self.neck = Neck(encoder.width, config.embedding, dtype=dtype, rngs=rngs)

    def __call__(
        self, image: Float[Array, "b h w 3"], *, key: Key[Array, ""] | None = None
    ) -> Float[Array, "b gh gw c"]:
        """Encode normalised photos; a `key` turns drop path on. float32 out."""
        tokens = self.patch_embed(image) + self.position[...].astype(self.config.compute_dtype)
        tokens = constrain(tokens, "batch", None, None, None)
        encoder = self.config.image_encoder
        shape = (encoder.depth // encoder.global_every, encoder.global_every)
        rates = jnp.linspace(0.0, encoder.drop_path, encoder.depth).reshape(shape)
        if encoder.drop_path == 0.0:
            key = None
        keys = None if key is None else jax.random.split(key, shape)
        apply = rematerialised(lambda block, tokens, rate, key: block(tokens, rate, key), encoder.remat)

        def windowed(tokens, inputs):
            block, rate, key = inputs
            return apply(block, tokens, rate, key), None

        def group(tokens, inputs):
            blocks, rates, keys = inputs
            first, last = (None, None) if keys is None else (keys[:-1], keys[-1])
            tokens, _ = jax.lax.scan(windowed, tokens, (blocks.windowed, rates[:-1], first))
            return apply(blocks.full, tokens, rates[-1], last), None

        tokens, _ = jax.lax.scan(group, tokens, (self.groups, rates, keys))
        return self.neck(tokens).astype(jnp.float32)


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
