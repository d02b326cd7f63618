"""Pyramid vision transformers (Wang et al. 2021, 2022; Xie et al. 2021): a photo in, four maps of tokens out."""

import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from samjax.core.random import Rows
from samjax.core.ranges import config_class
from samjax.core.tree import LayerIds
from samjax.models.backbone import BackboneConfig
from samjax.models.multiples import check_frame
from samjax.models.pyramid.pyramid_blocks import Patches, PyramidBlock
from samjax.models.pyramid.pyramid_sizes import STRIDES, PyramidSizes
from samjax.nn.drop_path import draw_branches
from samjax.nn.norm import layer_norm
from samjax.nn.reduction_attention import Reduction
from samjax.nn.stack import rematerialise, stack


@config_class("model.encoder")
class PyramidConfig(PyramidSizes, BackboneConfig):
    """A pyramid vision transformer. The defaults are SegFormer's MiT-B2."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the photo to a token of each map."""
        return STRIDES

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each map."""
        return self.widths

    @property
    def lossless_multiple(self) -> int:
        """Sides of photos whose maps fill all kernels that reduce keys and values: 32 of the published models. Patches
        that do not overlap take no other sides."""
        if self.reduction is Reduction.POOL or not self.overlapping:
            return 1
        return math.lcm(*(stride * ratio for stride, ratio in zip(STRIDES, self.reductions, strict=True) if ratio > 1))

    @property
    def layers(self) -> int:
        """The patches of the photo, then every block."""
        return sum(self.depths) + 1

    @property
    def fixed_size(self) -> bool:
        """Whether it has tables of positions that are not resized."""
        return not self.overlapping and self.table_size is None

    def layer_ids(self, prefix: str) -> LayerIds:
        """Return the layer of each parameter: 0 for the photo's patches, a block's number, counted over all stages;
        later patches learn with the block after them, a stage's norm with the block before."""
        ids: list[tuple[str, Any]] = []
        first = 1
        for stage, depth in enumerate(self.depths):
            own = f"{prefix}/stages/{stage}"
            ids += [
                (f"{own}/patches/*", first if stage else 0),
                (f"{own}/blocks/*", tuple(range(first, first + depth))),
                (f"{own}/norm/*", first + depth - 1),
            ]
            first += depth
        return tuple(ids)

    def make(self, *, image_size: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs) -> "Pyramid":
        """Return a pyramid with initial parameters; see `Pyramid`."""
        return Pyramid(self, image_size=image_size, dtype=dtype, rngs=rngs)

    @classmethod
    def mit_b0(cls, **changes) -> "PyramidConfig":
        """SegFormer's encoder B0, 3.3 million parameters; `changes` to any field."""
        return replace(cls(widths=(32, 64, 160, 256), depths=(2, 2, 2, 2)), **changes)

    @classmethod
    def mit_b1(cls, **changes) -> "PyramidConfig":
        """B1, 13.2 million."""
        return replace(cls(depths=(2, 2, 2, 2)), **changes)

    @classmethod
    def mit_b2(cls, **changes) -> "PyramidConfig":
        """B2, 24.2 million."""
        return replace(cls(), **changes)

    @classmethod
    def mit_b3(cls, **changes) -> "PyramidConfig":
        """B3, 44.1 million."""
        return replace(cls(depths=(3, 4, 18, 3)), **changes)

    @classmethod
    def mit_b4(cls, **changes) -> "PyramidConfig":
        """B4, 60.8 million."""
        return replace(cls(depths=(3, 8, 27, 3)), **changes)

    @classmethod
    def mit_b5(cls, **changes) -> "PyramidConfig":
        """B5, 81.4 million."""
        return replace(cls(depths=(3, 6, 40, 3)), **changes)

    @classmethod
    def pvt_tiny(cls, **changes) -> "PyramidConfig":
        """PVT v1 Tiny, 12.7 million."""
        return replace(cls(depths=(2, 2, 2, 2), mlp_ratios=(8, 8, 4, 4), overlapping=False), **changes)

    @classmethod
    def pvt_small(cls, **changes) -> "PyramidConfig":
        """PVT v1 Small, 24.0 million."""
        return cls.pvt_tiny(**{"depths": (3, 4, 6, 3), **changes})

    @classmethod
    def pvt_medium(cls, **changes) -> "PyramidConfig":
        """PVT v1 Medium, 43.7 million."""
        return cls.pvt_tiny(**{"depths": (3, 4, 18, 3), **changes})

    @classmethod
    def pvt_large(cls, **changes) -> "PyramidConfig":
        """PVT v1 Large, 60.9 million."""
        return cls.pvt_tiny(**{"depths": (3, 8, 27, 3), **changes})

    @classmethod
    def pvt_v2_b0(cls, **changes) -> "PyramidConfig":
        """PVT v2 B0, 3.4 million."""
        return cls.pvt_v2_b1(**{"widths": (32, 64, 160, 256), **changes})

    @classmethod
    def pvt_v2_b1(cls, **changes) -> "PyramidConfig":
        """PVT v2 B1, 13.5 million."""
        return replace(cls(depths=(2, 2, 2, 2), mlp_ratios=(8, 8, 4, 4)), **changes)

    @classmethod
    def pvt_v2_b2(cls, **changes) -> "PyramidConfig":
        """PVT v2 B2, 24.8 million."""
        return cls.pvt_v2_b1(**{"depths": (3, 4, 6, 3), **changes})

    @classmethod
    def pvt_v2_b2_li(cls, **changes) -> "PyramidConfig":
        """PVT v2 B2-Li, whose keys and values are of a 7 x 7 map, 22.0 million."""
        return cls.pvt_v2_b2(**{"reduction": Reduction.POOL, **changes})

    @classmethod
    def pvt_v2_b3(cls, **changes) -> "PyramidConfig":
        """PVT v2 B3, 44.7 million."""
        return cls.pvt_v2_b1(**{"depths": (3, 4, 18, 3), **changes})

    @classmethod
    def pvt_v2_b4(cls, **changes) -> "PyramidConfig":
        """PVT v2 B4, 62.0 million."""
        return cls.pvt_v2_b1(**{"depths": (3, 8, 27, 3), **changes})

    @classmethod
    def pvt_v2_b5(cls, **changes) -> "PyramidConfig":
        """PVT v2 B5, 81.4 million."""
        return cls.pvt_v2_b1(**{"depths": (3, 6, 40, 3), "mlp_ratios": (4, 4, 4, 4), **changes})


class Pyramid(nnx.Module):
    """A pyramid vision transformer.

    Args:
      config: its sizes.
      image_size: (height, width) of the photos it sees, in pixels. Where patches do not overlap, multiples of 32, and
        the tables of positions are made for it unless the config says for what.
      dtype: of activations and matrix products. Parameters, softmax and the norms' statistics are float32.
    """

    def __init__(self, config: PyramidConfig, *, image_size: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs):
        self.config = config
        if not config.overlapping:
            check_frame("model.image_size", image_size, STRIDES[-1])
        tables = config.table_size or image_size
        self.stages = nnx.List(
            [
                Stage(
                    config,
                    stage,
                    grid=(tables[0] // stride, tables[1] // stride),
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
          image: the photos; a side that is no multiple of 32 gives maps of rounded-up sides. Where patches do not
            overlap, sides must be such multiples.
          key: turns drop path on.
          rows: of a part of a batch, which photos of the whole batch it holds.
        """
        rates, keep = draw_branches(key, self.config.drop_path, sum(self.config.depths), image, rows)
        maps, tokens, first = [], image, 0
        for stage, blocks in zip(self.stages, self.config.depths, strict=True):
            own = slice(first, first + blocks)
            tokens = stage(tokens, rates[own], None if keep is None else keep[own])
            first += blocks
            maps.append(tokens)
        return tuple(maps)


class Stage(nnx.Module):
    """Patches of the map before, and blocks on them; a norm where patches overlap."""

    def __init__(self, config: PyramidSizes, stage: int, *, grid: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs):
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
