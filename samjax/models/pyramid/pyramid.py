"""Pyramid vision transformers (Wang et al. 2021, 2022; Xie et al. 2021): a photo in, four maps of tokens out."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from samjax.core.random import Rows, split_each
from samjax.models.multiples import check_frame
from samjax.models.pyramid.pyramid_blocks import Patches, PyramidBlock
from samjax.models.pyramid.pyramid_config import STRIDES, PyramidConfig
from samjax.nn.drop_path import draw_paths
from samjax.nn.norm import layer_norm
from samjax.nn.stack import rematerialise, stack


class Pyramid(nnx.Module):
    """A pyramid vision transformer.

    Args:
      config: its sizes.
      image_size: (height, width) of the photos it sees, in pixels. Where patches do not overlap, multiples of 32, and
        the tables of positions are made for it.
      dtype: of activations and matrix products. Parameters, softmax and the norms' statistics are float32.
    """

    def __init__(self, config: PyramidConfig, *, image_size: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs):
        self.config = config
        if not config.overlapping:
            check_frame("model.image_size", image_size, STRIDES[-1])
        self.stages = nnx.List(
            [
                Stage(
                    config,
                    stage,
                    grid=(image_size[0] // stride, image_size[1] // stride),
                    dtype=dtype,
                    rngs=rngs,
                )
                for stage, stride in enumerate(STRIDES)
            ]
        )

    def __call__(
        self, image: Float[Array, "b h w 3"], *, key: Key[Array, ""] | None = None, rows: Rows | None = None
    ) -> tuple[Float[Array, "b _ _ _"], ...]:
        """Return the maps after each stage of normalised photos, the finest first; their strides are the config's.

        Args:
          image: the photos; a side that is no multiple of 32 gives maps of rounded-up sides.
          key: turns drop path on.
          rows: of a part of a batch, which photos of the whole batch it holds.
        """
        depth = sum(self.config.depths)
        rates = jnp.linspace(0.0, self.config.drop_path, depth)
        keep = None
        if key is not None and self.config.drop_path > 0.0:
            of_branch = split_each(jax.random.split(key, depth), 2)
            keep = draw_paths(of_branch, jnp.broadcast_to(rates[:, None], of_branch.shape), len(image), rows)
        maps, tokens, first = [], image, 0
        for stage, blocks in zip(self.stages, self.config.depths, strict=True):
            own = slice(first, first + blocks)
            tokens = stage(tokens, rates[own], None if keep is None else keep[own])
            first += blocks
            maps.append(tokens)
        return tuple(maps)


class Stage(nnx.Module):
    """Patches of the map before, and blocks on them; a norm where patches overlap."""

    def __init__(self, config: PyramidConfig, stage: int, *, grid: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs):
        self.config = config
        self.patches = Patches(config, stage, grid=grid, dtype=dtype, rngs=rngs)
        self.blocks = stack(
            lambda rngs: PyramidBlock(config, stage, dtype=dtype, rngs=rngs), config.depths[stage], rngs=rngs
        )
        width, epsilon = config.widths[stage], config.epsilon
        self.norm = layer_norm(width, epsilon=epsilon, dtype=dtype, rngs=rngs) if config.overlapping else None

    def __call__(
        self,
        image: Float[Array, "b h w c"],
        rates: Float[Array, "depth"],
        keep: Bool[Array, "depth 2 b"] | None,
    ) -> Float[Array, "b gh gw d"]:
        """Return the stage's map."""
        apply = rematerialise(lambda block, tokens, rate, keep: block(tokens, rate, keep), self.config.remat)
        tokens, _ = jax.lax.scan(
            lambda tokens, one: (apply(one[0], tokens, *one[1:]), None),
            self.patches(image),
            (self.blocks, rates, keep),
        )
        return tokens if self.norm is None else self.norm(tokens)
