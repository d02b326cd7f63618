"""Swin transformers (Liu et al. 2021) as dense backbones: a photo of any size in, maps of tokens out."""

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
from samjax.models.swin.swin_blocks import MergedPatches, PhotoPatches, SwinBlock
from samjax.models.swin.swin_sizes import EPSILON, STRIDES, SwinSizes
from samjax.nn.drop_path import draw_branches
from samjax.nn.norm import layer_norm
from samjax.nn.stack import rematerialise, stack


@config_class("model.encoder")
class SwinConfig(SwinSizes, BackboneConfig):
    """A Swin transformer. The defaults are Swin-T's."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the photo to a token of each map."""
        return tuple(STRIDES[stage] for stage in self.maps)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each map."""
        return tuple(self.widths[stage] for stage in self.maps)

    @property
    def layers(self) -> int:
        """The patches of the photo, then every block."""
        return sum(self.depths) + 1

    def layer_ids(self, prefix: str) -> LayerIds:
        """Return the layer of each parameter: 0 for the photo's patches, a block's number, counted over all stages;
        merged patches learn with the block after them, a map's norm with the block before."""
        ids: list[tuple[str, Any]] = []
        first = 1
        for stage, depth in enumerate(self.depths):
            own = f"{prefix}/stages/{stage}"
            ids += [
                (f"{own}/patches/*", first if stage else 0),
                (f"{own}/pairs/tiled/*", tuple(range(first, first + depth, 2))),
                (f"{own}/pairs/shifted/*", tuple(range(first + 1, first + depth, 2))),
                (f"{own}/norm/*", first + depth - 1),
            ]
            first += depth
        return tuple(ids)

    def make(self, *, image_size: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs) -> "Swin":
        """Return a Swin transformer with initial parameters, which takes photos of any size."""
        del image_size
        return Swin(self, dtype=dtype, rngs=rngs)

    @classmethod
    def swin_t(cls, **changes) -> "SwinConfig":
        """Swin-T, 27.5 million parameters; `changes` to any field."""
        return replace(cls(), **changes)

    @classmethod
    def swin_s(cls, **changes) -> "SwinConfig":
        """Swin-S, 48.8 million."""
        return replace(cls(depths=(2, 2, 18, 2)), **changes)

    @classmethod
    def swin_b(cls, **changes) -> "SwinConfig":
        """Swin-B with windows of 12, 86.9 million."""
        return cls.swin_s(**{"width": 128, "heads": (4, 8, 16, 32), "window": 12, **changes})

    @classmethod
    def swin_l(cls, **changes) -> "SwinConfig":
        """Swin-L with windows of 12, 195.2 million."""
        return cls.swin_s(**{"width": 192, "heads": (6, 12, 24, 48), "window": 12, **changes})


class Swin(nnx.Module):
    """A Swin transformer.

    Args:
      config: its sizes.
      dtype: of activations and matrix products. Parameters, softmax and the norms' statistics are float32.
    """

    def __init__(self, config: SwinConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.config = config
        self.stages = nnx.List([Stage(config, stage, dtype=dtype, rngs=rngs) for stage in range(len(STRIDES))])

    def __call__(
        self, image: Float[Array, "b h w 3"], *, key: Key[Array, ""] | None = None, rows: Rows | None = None
    ) -> tuple[Float[Array, "b _ _ _"], ...]:
        """Return the maps of normalised photos, the finest first; their sides are those of the photo divided by the
        strides of the config, rounded up.

        Args:
          image: the photos.
          key: turns drop path on.
          rows: of a part of a batch, which photos of the whole batch it holds.
        """
        rates, keep = draw_branches(key, self.config.drop_path, sum(self.config.depths), image, rows)
        maps, tokens, first = [], image, 0
        for stage, blocks in zip(self.stages, self.config.depths, strict=True):
            own = slice(first, first + blocks)
            tokens = stage(tokens, rates[own], None if keep is None else keep[own])
            first += blocks
            if stage.norm is not None:
                maps.append(stage.norm(tokens))
        return tuple(maps)


class Pair(nnx.Module):
    """Two blocks: the windows of the first tile the map, those of the second are shifted by half a window."""

    def __init__(self, config: SwinSizes, stage: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.tiled = SwinBlock(config, stage, shift=0, dtype=dtype, rngs=rngs)
        self.shifted = SwinBlock(config, stage, shift=config.window // 2, dtype=dtype, rngs=rngs)


class Stage(nnx.Module):
    """Patches of the map before, and blocks on them; a norm of the map if it is returned."""

    def __init__(self, config: SwinSizes, stage: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.config = config
        width, pairs = config.widths[stage], config.depths[stage] // 2
        if stage == 0:
            self.patches = PhotoPatches(width, dtype=dtype, rngs=rngs)
        else:
            self.patches = MergedPatches(config.widths[stage - 1], dtype=dtype, rngs=rngs)
        self.pairs = stack(lambda rngs: Pair(config, stage, dtype=dtype, rngs=rngs), pairs, rngs=rngs)
        is_returned = stage in config.maps
        self.norm = layer_norm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs) if is_returned else None

    def __call__(
        self,
        image: Float[Array, "b h w c"],
        rates: Float[Array, "depth"],
        keep: Bool[Array, "depth 2 b"] | None,
    ) -> Float[Array, "b gh gw d"]:
        """Return the stage's map, before its norm."""
        apply = rematerialise(lambda block, tokens, rate, keep: block(tokens, rate, keep), self.config.remat)

        def of_pair(tokens: Array, one: tuple[Pair, Array, Array | None]) -> tuple[Array, None]:
            pair, rates, keep = one
            tokens = apply(pair.tiled, tokens, rates[0], None if keep is None else keep[0])
            return apply(pair.shifted, tokens, rates[1], None if keep is None else keep[1]), None

        by_pairs = rates.reshape(-1, 2), None if keep is None else keep.reshape(-1, 2, *keep.shape[1:])
        return jax.lax.scan(of_pair, self.patches(image), (self.pairs, *by_pairs))[0]
