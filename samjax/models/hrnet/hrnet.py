"""High-resolution networks (Sun et al. 2019, HRNet; Yuan et al. 2021, HRFormer): a photo in, four maps out."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Key

from samjax.core.random import Rows, split_each
from samjax.core.ranges import config_class
from samjax.core.tree import LayerIds
from samjax.models.backbone import BackboneConfig
from samjax.models.hrnet.fuse import FuseInto, Maps
from samjax.models.hrnet.hrnet_blocks import EXPANSION, Bottleneck, branch_block
from samjax.models.hrnet.hrnet_sizes import STRIDES, HrnetSizes
from samjax.nn.batch_norm import Training, in_training
from samjax.nn.conv_norm import ConvNorm
from samjax.nn.drop_path import draw_paths
from samjax.nn.stack import several

STEM = 64
"""Channels of the stem, and of the 3 x 3 convolutions of the bottlenecks."""

Keep = Bool[Array, "blocks branches 2 b"] | None
"""Which photos keep which residual branch of which block of a module."""


@config_class("model.encoder")
class HrnetConfig(HrnetSizes, BackboneConfig):
    """A high-resolution network. The defaults are HRFormer-S's."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the photo to a pixel of each map."""
        return STRIDES

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each map."""
        return self.widths

    @property
    def layers(self) -> int:
        """Stem and bottlenecks together, then every block of a branch; branches side by side are of one layer."""
        return self.depth + 1

    def layer_ids(self, prefix: str) -> LayerIds:
        """Return the layer of each parameter: 0 for stem and bottlenecks, a block's number, counted over all stages.

        A transition learns with the block after it, a module's fusion with the block before.
        """
        ids: list[tuple[str, Any]] = [(f"{prefix}/stem/*", 0), (f"{prefix}/bottlenecks/*", 0)]
        first = 1
        for stage, modules in enumerate(self.modules):
            ids.append((f"{prefix}/stages/{stage}/transition/*", first))
            for module in range(modules):
                own = f"{prefix}/stages/{stage}/modules/{module}"
                ids += [(f"{own}/branches/*/{block}/*", first + block) for block in range(self.blocks)]
                first += self.blocks
                ids.append((f"{own}/fuse/*", first - 1))
        return tuple(ids)

    def make(self, *, image_size: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs) -> "Hrnet":
        """Return a network with initial parameters, which takes photos of any size."""
        return Hrnet(self, dtype=dtype, rngs=rngs)

    @classmethod
    def hrformer_t(cls, **changes) -> "HrnetConfig":
        """HRFormer-T, which the authors trained to classify only; `changes` to any field."""
        return replace(cls(widths=(18, 36, 72, 144), modules=(1, 3, 2)), **changes)

    @classmethod
    def hrformer_s(cls, **changes) -> "HrnetConfig":
        """HRFormer-S, 7.9 million parameters."""
        return replace(cls(), **changes)

    @classmethod
    def hrformer_b(cls, **changes) -> "HrnetConfig":
        """HRFormer-B, 44.0 million; the authors also trained windows of 13 and 15."""
        return replace(cls(widths=(78, 156, 312, 624), heads=(2, 4, 8, 16)), **changes)


class Hrnet(nnx.Module):
    """A high-resolution network; `dtype` is that of activations and matrix products.

    Parameters, softmax and the norms' statistics are float32.
    """

    def __init__(self, config: HrnetConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.config = config
        self.stem = nnx.List(
            [
                ConvNorm(inputs, STEM, 3, stride=2, activation=jax.nn.relu, dtype=dtype, rngs=rngs)
                for inputs in (3, STEM)
            ]
        )
        self.bottlenecks = nnx.List(
            [
                Bottleneck(EXPANSION * STEM if index else STEM, STEM, dtype=dtype, rngs=rngs)
                for index in range(config.bottlenecks)
            ]
        )
        self.stages = nnx.List([Stage(config, stage, dtype=dtype, rngs=rngs) for stage in range(len(config.modules))])

    def __call__(
        self, image: Float[Array, "b h w 3"], *, key: Key[Array, ""] | None = None, rows: Rows | None = None
    ) -> Maps:
        """Return the maps of all branches of normalised photos, the finest first; their strides are the config's.

        Args:
          image: the photos; a side that is no multiple of 32 gives maps of rounded-up sides.
          key: means training: batch norms take the batch's statistics, and drop path is on.
          rows: of a part of a batch, which photos of the whole batch it holds.
        """
        config, training = self.config, in_training(key, rows)
        rates = np.linspace(0.0, config.drop_path, config.depth).tolist()
        keep = self._draw(rates, image.shape[0], key, rows)
        x = image
        for convolve in self.stem:
            x = convolve(x, training=training)
        for bottleneck in self.bottlenecks:
            x = bottleneck(x, training=training)
        maps: Maps = (x,)
        first = 0
        for stage, modules in zip(self.stages, config.modules, strict=True):
            own = slice(first, first + modules * config.blocks)
            maps = stage(maps, rates[own], None if keep is None else keep[own], training=training)
            first = own.stop
        return maps

    def _draw(self, rates: list[float], photos: int, key: Key[Array, ""] | None, rows: Rows | None) -> Keep:
        """Draw what every block of every branch keeps; branches that do not exist yet draw too, which is cheap."""
        if key is None or self.config.drop_path == 0.0:
            return None
        of_branch = split_each(jax.random.split(key, (len(rates), len(STRIDES))), 2)
        return draw_paths(of_branch, jnp.broadcast_to(jnp.array(rates)[:, None, None], of_branch.shape), photos, rows)


class Transition(nnx.Module):
    """Starts a branch beside those before, from the coarsest; and brings the bottlenecks' map to its branch's width."""

    def __init__(self, before: tuple[int, ...], widths: tuple[int, ...], *, dtype: jnp.dtype, rngs: nnx.Rngs):
        def conv(outputs: int, stride: int) -> ConvNorm:
            return ConvNorm(before[-1], outputs, 3, stride=stride, activation=jax.nn.relu, dtype=dtype, rngs=rngs)

        self.same = conv(widths[0], 1) if before != widths[:-1] else None
        self.down = conv(widths[-1], 2)

    def __call__(self, maps: Maps, *, training: Training) -> Maps:
        """Return the maps with one more."""
        started = self.down(maps[-1], training=training)
        return (*(maps if self.same is None else (self.same(maps[0], training=training),)), started)


class Module(nnx.Module):
    """Blocks on each branch, then all branches added to each."""

    def __init__(self, config: HrnetSizes, branches: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        widths = config.widths[:branches]

        def blocks(branch: int) -> nnx.List:
            return several(lambda rngs: branch_block(config, branch, dtype=dtype, rngs=rngs), config.blocks, rngs=rngs)

        self.branches = nnx.List([blocks(branch) for branch in range(branches)])
        self.fuse = nnx.List(
            [FuseInto(widths, target, fuse=config.fuse, dtype=dtype, rngs=rngs) for target in range(branches)]
        )

    def __call__(self, maps: Maps, rates: list[float], keep: Keep, *, training: Training) -> Maps:
        """Return the maps after blocks of these rates of drop path, and what they `keep`."""
        after = []
        for branch, (blocks, x) in enumerate(zip(self.branches, maps, strict=True)):
            for index, block in enumerate(blocks):
                x = block(x, training=training, rate=rates[index], keep=None if keep is None else keep[index, branch])
            after.append(x)
        return tuple(fuse(tuple(after), training=training) for fuse in self.fuse)


class Stage(nnx.Module):
    """A transition to one more branch, and modules."""

    def __init__(self, config: HrnetSizes, stage: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.blocks = config.blocks
        branches = stage + 2
        before = config.widths[: branches - 1] if stage else (EXPANSION * STEM,)
        self.transition = Transition(before, config.widths[:branches], dtype=dtype, rngs=rngs)
        self.modules = several(
            lambda rngs: Module(config, branches, dtype=dtype, rngs=rngs), config.modules[stage], rngs=rngs
        )

    def __call__(self, maps: Maps, rates: list[float], keep: Keep, *, training: Training) -> Maps:
        """Return the stage's maps; `rates` and `keep` are of all its blocks."""
        maps = self.transition(maps, training=training)
        for index, module in enumerate(self.modules):
            own = slice(index * self.blocks, (index + 1) * self.blocks)
            maps = module(maps, rates[own], None if keep is None else keep[own], training=training)
        return maps
