"""The blocks of high-resolution networks (Sun et al. 2019, HRNet; Yuan et al. 2021, HRFormer).

Batch norms assign their statistics in training, which does not come back from `lax.scan` or `jax.checkpoint`: blocks
are in lists, and only parts without a batch norm are computed again for the backward pass.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from samjax.models.hrnet.hrnet_sizes import BranchBlock, HrnetSizes
from samjax.nn.batch_norm import Training
from samjax.nn.conv_norm import ConvNorm
from samjax.nn.drop_path import drop_path
from samjax.nn.mlp import gelu
from samjax.nn.norm import layer_norm
from samjax.nn.window import Padding
from samjax.nn.window_attention import WindowAttention
from samjax.parallel.sharding import constrain

EXPANSION = 4
"""Channels that a bottleneck returns for each channel of its 3 x 3 convolution."""


class Bottleneck(nnx.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions beside a shortcut, which has a convolution where the channels change."""

    def __init__(self, inputs: int, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        outputs, relu = EXPANSION * width, jax.nn.relu
        self.reduce = ConvNorm(inputs, width, 1, activation=relu, dtype=dtype, rngs=rngs)
        self.spatial = ConvNorm(width, width, 3, activation=relu, dtype=dtype, rngs=rngs)
        self.expand = ConvNorm(width, outputs, 1, dtype=dtype, rngs=rngs)
        self.shortcut = None if inputs == outputs else ConvNorm(inputs, outputs, 1, dtype=dtype, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"], *, training: Training) -> Float[Array, "b h w d"]:
        """Apply it to a map."""
        out = self.spatial(self.reduce(x, training=training), training=training)
        out = self.expand(out, training=training)
        shortcut = x if self.shortcut is None else self.shortcut(x, training=training)
        return jax.nn.relu(out + shortcut)


class BasicBlock(nnx.Module):
    """Two 3 x 3 convolutions beside a shortcut (HRNet)."""

    def __init__(self, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.first = ConvNorm(width, width, 3, activation=jax.nn.relu, dtype=dtype, rngs=rngs)
        self.second = ConvNorm(width, width, 3, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "b h w c"],
        *,
        training: Training,
        rate: float = 0.0,
        keep: Bool[Array, "2 b"] | None = None,
    ) -> Float[Array, "b h w c"]:
        """Apply it to a map; it has no drop path."""
        return jax.nn.relu(self.second(self.first(x, training=training), training=training) + x)


class DepthwiseMlp(nnx.Module):
    """width -> hidden -> width with a depthwise 3 x 3 convolution between, and a batch norm and a GELU after each of
    the three, the last too (HRFormer, section 3)."""

    def __init__(self, width: int, hidden: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        def conv(inputs: int, outputs: int, kernel: int, groups: int = 1) -> ConvNorm:
            return ConvNorm(
                inputs, outputs, kernel, groups=groups, use_bias=True, activation=gelu, dtype=dtype, rngs=rngs
            )

        self.up, self.down = conv(width, hidden, 1), conv(hidden, width, 1)
        self.depthwise = conv(hidden, hidden, 3, groups=hidden)

    def __call__(self, tokens: Float[Array, "b h w d"], *, training: Training) -> Float[Array, "b h w d"]:
        """Apply it to a map."""
        hidden = self.depthwise(self.up(tokens, training=training), training=training)
        return self.down(hidden, training=training)


class HrformerBlock(nnx.Module):
    """A pre-norm transformer block with attention within windows, which the MLP's convolution connects."""

    def __init__(self, config: HrnetSizes, branch: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        width = config.widths[branch]
        self.norm1 = layer_norm(width, epsilon=1e-6, dtype=dtype, rngs=rngs)
        self.attention = WindowAttention(
            width, config.heads[branch], window=config.window, padding=Padding.CENTRED, dtype=dtype, rngs=rngs
        )
        self.norm2 = layer_norm(width, epsilon=1e-6, dtype=dtype, rngs=rngs)
        self.mlp = DepthwiseMlp(width, width * config.mlp_ratio, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        x: Float[Array, "b h w d"],
        *,
        training: Training,
        rate: float = 0.0,
        keep: Bool[Array, "2 b"] | None = None,
    ) -> Float[Array, "b h w d"]:
        """Apply it to a map; `keep`, of each residual branch, None means no drop path."""
        attention, mlp = (None, None) if keep is None else keep
        x = x + drop_path(self.attention(self.norm1(x)), rate, attention)
        x = x + drop_path(self.mlp(self.norm2(x), training=training), rate, mlp)
        return constrain(x, "batch", None, None, None)


def branch_block(config: HrnetSizes, branch: int, *, dtype: jnp.dtype, rngs: nnx.Rngs) -> BasicBlock | HrformerBlock:
    """Return one block of a branch."""
    if config.block is BranchBlock.BASIC:
        return BasicBlock(config.widths[branch], dtype=dtype, rngs=rngs)
    return HrformerBlock(config, branch, dtype=dtype, rngs=rngs)
