"""The blocks of a plain vision transformer (Dosovitskiy et al. 2021), windowed where its config says so (ViTDet)."""

from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.nn.initializers import Initializer
from jaxtyping import Array, Bool, Float, Key

from samjax.core.random import Rows, draw_rows, split_each
from samjax.core.ranges import Count, DropRate, Range, config_class
from samjax.core.tree import LayerIds
from samjax.models.multiples import check_multiples
from samjax.nn.drop_path import draw_paths, drop_path, dropout
from samjax.nn.init import VIT_INIT
from samjax.nn.mlp import Mlp
from samjax.nn.norm import layer_norm
from samjax.nn.spatial_attention import AttentionKernel, SpatialAttention
from samjax.nn.stack import Remat, rematerialise, stack
from samjax.parallel.sharding import constrain

Epsilon = Annotated[float, Range(above=0, why="a norm divides by its square root where its input is constant")]


@config_class("blocks")
class BlockSizes:
    """Sizes of a sequence of pre-norm blocks of one width, and how it is computed. The defaults are ViT-B's."""

    width: Count = 768
    """Channels of a token, a multiple of the heads."""
    depth: Count = 12
    """Number of blocks, a multiple of `global_every`."""
    heads: Count = 12
    """Number of attention heads of a block."""
    mlp_ratio: Count = 4
    """Hidden units of a block's MLP for each channel."""
    window: Count = 14
    """Side of a local attention window, in tokens; unused where every block is global."""
    global_every: Count = 1
    """The last block of each group of this many attends globally; depth is a multiple of it. 1 makes every block
    global."""
    drop_path: DropRate = 0.0
    """Rate at which the last block is dropped in training; it rises linearly from 0 at the first."""
    remat: Remat = Remat.NONE
    """What a block keeps for the backward pass: everything, the results of dense layers, or its input alone. Less
    memory, more time."""
    attention: AttentionKernel = AttentionKernel.AUTO
    """Kernel that computes attention. All give the same result up to rounding; AUTO takes the platform's fastest."""

    def __post_init__(self):
        section = type(self).section  # type: ignore[attr-defined]
        check_multiples(
            (f"{section}.width", self.width, self.heads), (f"{section}.depth", self.depth, self.global_every)
        )

    def name_among(self, published: Mapping[str, "BlockSizes"]) -> str:
        """Return the name of the published sizes that these are, such as `ViT-B`; of others their numbers."""
        for name, one in published.items():
            if (self.width, self.depth, self.heads) == (one.width, one.depth, one.heads):
                return name
        return f"ViT of {self.depth} blocks, width {self.width}, {self.heads} heads"


@config_class("blocks")
class BlocksConfig(BlockSizes):
    """A sequence of pre-norm blocks of one width."""

    relative_positions: bool = False
    """Whether attention adds decomposed relative positions (MViTv2). They need tokens on a map."""
    epsilon: Epsilon = 1e-6
    """Added to the variance in every norm."""

    @property
    def groups(self) -> int:
        """Groups of `global_every` blocks."""
        return self.depth // self.global_every

    @property
    def takes_sequences(self) -> bool:
        """Whether tokens need no places on a map: no block is windowed or adds relative positions."""
        return self.global_every == 1 and not self.relative_positions

    def layer_ids(self, prefix: str) -> LayerIds:
        """Return the layer of each block's parameters under `prefix`: 1 for the first block, `depth` for the last."""
        blocks = np.arange(1, self.depth + 1).reshape(self.groups, self.global_every)
        full = (f"{prefix}/groups/full/*", tuple(blocks[:, -1].tolist()))
        if self.global_every == 1:
            return (full,)
        return (f"{prefix}/groups/windowed/*", tuple(map(tuple, blocks[:, :-1].tolist()))), full


class Block(nnx.Module):
    """A pre-norm transformer block; `window` None attends globally.

    `grid` is the (height, width) of the map that relative positions are made for.
    """

    def __init__(
        self,
        config: BlocksConfig,
        *,
        window: int | None,
        grid: tuple[int, int],
        dtype: jnp.dtype,
        init: Initializer = VIT_INIT,
        rngs: nnx.Rngs,
    ):
        table = grid if window is None else (window, window)
        self.norm1 = layer_norm(config.width, epsilon=config.epsilon, dtype=dtype, rngs=rngs)
        self.attention = SpatialAttention(
            config.width,
            config.heads,
            table_size=table if config.relative_positions else None,
            window=window,
            kernel=config.attention,
            init=init,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm2 = layer_norm(config.width, epsilon=config.epsilon, dtype=dtype, rngs=rngs)
        self.mlp = Mlp(config.width, config.width * config.mlp_ratio, init=init, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        tokens: Float[Array, "b *places d"],
        drop_rate: Float[Array, ""],
        keep: Bool[Array, "2 b"] | None,
        *,
        rate: float = 0.0,
        keys: Key[Array, "3 b"] | None = None,
    ) -> Float[Array, "b *places d"]:
        """Apply to a map or a sequence of tokens.

        Args:
          tokens: the input.
          drop_rate: of drop path.
          keep: of each branch and sample, whether it is kept; None means no drop path.
          rate: of dropout.
          keys: of what attention gives, of the MLP's hidden units, and of what it gives, for each sample; None means no
            dropout.
        """
        attention, mlp = (None, None) if keep is None else keep
        of_attention, of_hidden, of_mlp = (None, None, None) if keys is None else keys
        branch = dropout(self.attention(self.norm1(tokens)), rate, of_attention)
        tokens = tokens + drop_path(branch, drop_rate, attention)
        branch = dropout(self.mlp(self.norm2(tokens), dropout=rate, key=of_hidden), rate, of_mlp)
        tokens = tokens + drop_path(branch, drop_rate, mlp)
        return constrain(tokens, "batch", *(None,) * (tokens.ndim - 1))


class BlockGroup(nnx.Module):
    """k windowed blocks, if any, then a global one. Two stacks, since their position tables differ in shape."""

    def __init__(
        self,
        config: BlocksConfig,
        *,
        grid: tuple[int, int],
        dtype: jnp.dtype,
        init: Initializer = VIT_INIT,
        rngs: nnx.Rngs,
    ):
        def block(rngs: nnx.Rngs, window: int | None) -> Block:
            return Block(config, window=window, grid=grid, dtype=dtype, init=init, rngs=rngs)

        windowed = config.global_every - 1
        self.windowed = stack(lambda rngs: block(rngs, config.window), windowed, rngs=rngs) if windowed else None
        self.full = block(rngs, None)


def stack_groups(
    config: BlocksConfig, *, grid: tuple[int, int], dtype: jnp.dtype, init: Initializer = VIT_INIT, rngs: nnx.Rngs
) -> BlockGroup:
    """Return all groups as one module whose parameters carry a leading axis of `config.groups`."""
    return stack(
        lambda rngs: BlockGroup(config, grid=grid, dtype=dtype, init=init, rngs=rngs), config.groups, rngs=rngs
    )


def apply_groups(
    groups: BlockGroup,
    tokens: Float[Array, "b *places d"],
    config: BlocksConfig,
    *,
    taps: tuple[int, ...] = (),
    rate: float = 0.0,
    key: Key[Array, ""] | None = None,
    rows: Rows | None = None,
) -> tuple[Float[Array, "b *places d"], tuple[Float[Array, "b *places d"], ...]]:
    """Return the tokens after every block, and after each block of `taps`, which are numbered from 0.

    Args:
      groups: all blocks, as `stack_groups` makes them from `config`.
      tokens: a map [b h w d], or a sequence [b n d] where `config.takes_sequences`.
      rate: of dropout, of what attention and MLPs give and of their hidden units.
      key: turns drop path and dropout on.
      rows: of a part of a batch, which samples of the whole batch it holds.
    """
    shape = (config.groups, config.global_every)
    rates = jnp.linspace(0.0, config.drop_path, config.depth).reshape(shape)
    keep, keys = None, None
    if key is not None and rate > 0.0:
        key, of_units = split_each(key, 2)
        split = draw_rows(lambda photos: jax.random.split(of_units, (photos, *shape, 3)), len(tokens), rows)
        keys = jnp.moveaxis(split, 0, -1)
    if key is not None and config.drop_path > 0.0:
        of_branch = split_each(jax.random.split(key, shape), 2)
        keep = draw_paths(of_branch, jnp.broadcast_to(rates[..., None], of_branch.shape), len(tokens), rows)
    kept, slots = None, None
    if taps:  # the index of the tap each block fills; that of most is beyond the last
        places = np.full(config.depth, len(taps))
        places[list(taps)] = np.arange(len(taps))
        kept, slots = jnp.zeros((len(taps), *tokens.shape), tokens.dtype), jnp.asarray(places).reshape(shape)
    apply = rematerialise(
        lambda block, tokens, drop_rate, keep, keys: block(tokens, drop_rate, keep, rate=rate, keys=keys), config.remat
    )

    def step(carry, inputs):
        (tokens, kept), (block, drop_rate, keep, keys, slot) = carry, inputs
        tokens = apply(block, tokens, drop_rate, keep, keys)
        return (tokens, None if kept is None else kept.at[slot].set(tokens, mode="drop")), None

    def group(carry, inputs):
        blocks, *by_block = inputs
        if blocks.windowed is not None:
            first = jax.tree.map(lambda values: values[:-1], by_block)
            carry, _ = jax.lax.scan(step, carry, (blocks.windowed, *first))
        return step(carry, (blocks.full, *jax.tree.map(lambda values: values[-1], by_block)))

    (tokens, kept), _ = jax.lax.scan(group, (tokens, kept), (groups, rates, keep, keys, slots))
    return tokens, () if kept is None else tuple(kept)
