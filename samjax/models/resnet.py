"""The residual network of ViT and DPT hybrids: standardised convolutions, group norms, TensorFlow's padding.

"ResNetv2" in the papers (Kolesnikov et al. 2020, BiT; Dosovitskiy et al. 2021), though its activations come after its
convolutions, as in He et al. 2016. Other residual networks differ in `NormedConv` and in the stem.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.errors import UserError
from samjax.core.random import Rows
from samjax.core.ranges import Count, config_class
from samjax.core.tree import LayerIds
from samjax.models.backbone import BackboneConfig
from samjax.models.multiples import check_multiples
from samjax.nn.norm import group_norm
from samjax.nn.standardised_conv import StandardisedConv

NARROWING = 4
"""How many times fewer channels the 3 x 3 convolution of a block has."""


@config_class("model.encoder")
class ResNetConfig(BackboneConfig):
    """Sizes of a residual network of bottleneck blocks. The defaults are those of ViT-B and DPT hybrids."""

    stem: Count = 64
    """Channels after the first convolution, a multiple of `groups`."""
    widths: tuple[Count, ...] = (256, 512, 1024)
    """Channels of each stage's map, multiples of 4 `groups`."""
    depths: tuple[Count, ...] = (3, 4, 9)
    """Blocks of each stage."""
    groups: Count = 32
    """Groups of channels that a norm takes together."""

    def __post_init__(self):
        if len(self.widths) != len(self.depths):
            raise UserError(
                f"model.encoder.widths are {self.widths} and model.encoder.depths {self.depths}; give both one number "
                "for each stage"
            )
        check_multiples(("model.encoder.stem", self.stem, self.groups))
        for stage, width in enumerate(self.widths):
            check_multiples((f"model.encoder.widths[{stage}]", width, NARROWING * self.groups))

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels of the photo to a pixel of each map: 4, and twice as many for each further stage."""
        return tuple(4 * 2**stage for stage in range(len(self.depths)))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each map."""
        return self.widths

    @property
    def layers(self) -> int:
        """The stem, then every block."""
        return 1 + sum(self.depths)

    def layer_ids(self, prefix: str) -> LayerIds:
        """Return the layer of each parameter: 0 for the stem, a block's number, counted over all stages."""
        blocks = [(stage, block) for stage, depth in enumerate(self.depths) for block in range(depth)]
        return (
            (f"{prefix}/stem/*", 0),
            *((f"{prefix}/stages/{stage}/{block}/*", number) for number, (stage, block) in enumerate(blocks, start=1)),
        )

    def make(self, *, image_size: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs) -> "ResNet":
        """Return a network with initial parameters; it takes photos of any size."""
        return ResNet(self, dtype=dtype, rngs=rngs)


class NormedConv(nnx.Module):
    """A standardised convolution and a group norm."""

    def __init__(
        self, inputs: int, outputs: int, size: int, *, stride: int = 1, groups: int, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        self.conv = StandardisedConv(inputs, outputs, size, stride=stride, dtype=dtype, rngs=rngs)
        self.norm = group_norm(outputs, groups, dtype=dtype, rngs=rngs)

    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b gh gw d"]:
        """Return the map, each side divided by the stride and rounded up."""
        return self.norm(self.conv(image))


class Bottleneck(nnx.Module):
    """A residual block: 1 x 1 to a quarter of the channels, 3 x 3 with the block's stride, 1 x 1 back.

    Where the map changes, in a stage's first block, the shortcut is a 1 x 1 convolution too.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, is_first: bool, groups: int, dtype: jnp.dtype, rngs: nnx.Rngs
    ):
        def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> NormedConv:
            return NormedConv(inputs, outputs, size, stride=stride, groups=groups, dtype=dtype, rngs=rngs)

        narrow = outputs // NARROWING
        self.down, self.mix, self.up = (
            conv(inputs, narrow, 1),
            conv(narrow, narrow, 3, stride),
            conv(narrow, outputs, 1),
        )
        self.shortcut = conv(inputs, outputs, 1, stride) if is_first else None

    def __call__(self, image: Float[Array, "b h w c"]) -> Float[Array, "b gh gw d"]:
        """Return the map, each side divided by the stride and rounded up."""
        shortcut = image if self.shortcut is None else self.shortcut(image)
        hidden = jax.nn.relu(self.mix(jax.nn.relu(self.down(image))))
        return jax.nn.relu(self.up(hidden) + shortcut)


class ResNet(nnx.Module):
    """A residual network of bottleneck blocks: a photo in, the map of each stage out."""

    def __init__(self, config: ResNetConfig, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.stem = NormedConv(3, config.stem, 7, stride=2, groups=config.groups, dtype=dtype, rngs=rngs)

        def stage(number: int) -> nnx.List:
            inputs, outputs = (config.stem, *config.widths)[number], config.widths[number]
            return nnx.List(
                [
                    Bottleneck(
                        outputs if block else inputs,
                        outputs,
                        stride=2 if number and not block else 1,
                        is_first=block == 0,
                        groups=config.groups,
                        dtype=dtype,
                        rngs=rngs,
                    )
                    for block in range(config.depths[number])
                ]
            )

        self.stages = nnx.List([stage(number) for number in range(len(config.depths))])

    def __call__(
        self, image: Float[Array, "b h w 3"], *, key: Key[Array, ""] | None = None, rows: Rows | None = None
    ) -> tuple[Float[Array, "b _ _ _"], ...]:
        """Return the maps after each stage of normalised photos, the finest first.

        A side that is no multiple of a map's stride is rounded up. Training does not differ: `key` and `rows` are of
        all backbones.
        """
        tokens = nnx.max_pool(jax.nn.relu(self.stem(image)), (3, 3), strides=(2, 2), padding="SAME")
        maps = []
        for stage in self.stages:
            for block in stage:
                tokens = block(tokens)
            maps.append(tokens)
        return tuple(maps)
