"""The ViT image encoder (Segment Anything, section 3; ViTDet)."""

from typing import Annotated

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.ranges import Count, DropRate, Pixels, Range, config_class
from samjax.models.multiples import check_multiples
from samjax.nn.drop_path import drop_path
from samjax.nn.init import VIT_INIT, parameter
from samjax.nn.mlp import Mlp
from samjax.nn.norm import layer_norm
from samjax.nn.patch import Patchify
from samjax.nn.spatial_attention import AttentionKernel, SpatialAttention
from samjax.nn.stack import Remat, rematerialised, stack
from samjax.parallel.sharding import constrain


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

    def __post_init__(self):
        check_multiples(
            ("model.image_encoder.width", self.width, self.heads),
            ("model.image_encoder.depth", self.depth, self.global_every),
        )


class Block(nnx.Module):
    """A pre-norm transformer block; `window` None attends globally."""

    def __init__(
        self,
        config: ImageEncoderConfig,
        *,
        window: int | None,
        grid: tuple[int, int],
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.norm1 = layer_norm(config.width, epsilon=1e-6, dtype=dtype, rngs=rngs)
        self.attention = SpatialAttention(
            config.width,
            config.heads,
            table_size=grid if window is None else (window, window),
            window=window,
            kernel=config.attention,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm2 = layer_norm(config.width, epsilon=1e-6, dtype=dtype, rngs=rngs)
        self.mlp = Mlp(config.width, config.width * config.mlp_ratio, dtype=dtype, rngs=rngs)

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

    def __init__(self, config: ImageEncoderConfig, *, grid: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs):
        def block(rngs: nnx.Rngs, window: int | None) -> Block:
            return Block(config, window=window, grid=grid, dtype=dtype, rngs=rngs)

        self.windowed = stack(lambda rngs: block(rngs, config.window), config.global_every - 1, rngs=rngs)
        self.full = block(rngs, None)


class ImageEncoder(nnx.Module):
    """Photo in, embedding out, at a `patch`-th of its resolution."""

    def __init__(
        self, config: ImageEncoderConfig, *, grid: tuple[int, int], embedding: int, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        self.config, self.dtype = config, dtype
        self.patch_embed = Patchify(3, config.width, config.patch, init=VIT_INIT, dtype=dtype, rngs=rngs)
        self.position = parameter(VIT_INIT, (*grid, config.width), axes=(None, None, "embed"), rngs=rngs)
        groups = config.depth // config.global_every
        self.groups = stack(lambda rngs: BlockGroup(config, grid=grid, dtype=dtype, rngs=rngs), groups, rngs=rngs)
        self.neck = Neck(config.width, embedding, dtype=dtype, rngs=rngs)

    def __call__(
        self, image: Float[Array, "b h w 3"], *, key: Key[Array, ""] | None = None
    ) -> Float[Array, "b gh gw c"]:
        """Encode normalised photos; a `key` turns drop path on. float32 out."""
        tokens = self.patch_embed(image) + self.position[...].astype(self.dtype)
        tokens = constrain(tokens, "batch", None, None, None)
        encoder = self.config
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
