"""The plain ViT as a backbone: maps after chosen blocks, all of one stride."""

import dataclasses

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.random import Rows
from samjax.core.ranges import CountOrNone, Pixels, config_class
from samjax.core.tree import LayerIds
from samjax.models.backbone import BackboneConfig
from samjax.models.multiples import check_frame
from samjax.models.vit.blocks import BlockSizes, Epsilon
from samjax.models.vit.vit import Vit, VitConfig
from samjax.nn.norm import layer_norm


@config_class("model.encoder")
class TappedVitConfig(BlockSizes, BackboneConfig):
    """A plain ViT that gives a map after each of `taps`, and one after its last block. The defaults are ViT-B/16's.

    `TappedVitConfig(taps=(2, 5, 8))` gives four maps. They are of the photo's tokens; learned tokens attend, and stay
    behind.
    """

    patch: Pixels = 16
    """Side of a patch, which becomes one token, in pixels."""
    patch_bias: bool = True
    """Whether the patch embedding has a bias."""
    class_token: bool = True
    """Whether a learned token with a position of its own attends together with those of the photo; the blocks must then
    take sequences."""
    distillation_token: bool = False
    """Whether a second one does, DeiT's."""
    taps: tuple[CountOrNone, ...] = ()
    """Blocks, numbered from 0 and rising, whose maps are given beside the last one's. A block may be the last: with
    `map_norms` its map is then given twice, under two norms."""
    map_norms: bool = False
    """Whether each map passes through a LayerNorm of its own. The last map's is the final norm of a ViT."""
    epsilon: Epsilon = 1e-6
    """Added to the variance in every norm."""

    def __post_init__(self):
        super().__post_init__()
        self.vit()  # refuses what no ViT can be

    @property
    def maps(self) -> int:
        """How many maps there are."""
        return len(self.taps) + 1

    @property
    def strides(self) -> tuple[int, ...]:
        """The patch, for each map."""
        return (self.patch,) * self.maps

    @property
    def channels(self) -> tuple[int, ...]:
        """The width, for each map."""
        return (self.width,) * self.maps

    @property
    def layers(self) -> int:
        """The patches with all learned tokens, then every block."""
        return self.depth + 1

    @property
    def fixed_size(self) -> bool:
        """Whether it has a table of positions: always."""
        return True

    def vit(self) -> VitConfig:
        """Return the ViT without the norms of its maps."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del fields["map_norms"]
        return VitConfig(**fields, class_position=self.class_token, final_norm=False)

    def layer_ids(self, prefix: str) -> LayerIds:
        """Return the layer of each parameter under `prefix`: 0 for patches, positions and learned tokens, i + 1 for
        block i; a map's norm learns with the block before it."""
        blocks = (*self.taps, self.depth - 1)
        norms = ((f"{prefix}/norms/{index}/*", block + 1) for index, block in enumerate(blocks))
        return (*self.vit().layer_ids(prefix), *norms)

    def make(self, *, image_size: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs) -> "TappedVit":
        """Return a ViT with initial parameters; see `TappedVit`."""
        return TappedVit(self, image_size=image_size, dtype=dtype, rngs=rngs)


class TappedVit(Vit):
    """A plain ViT called as a backbone.

    Args:
      config: its sizes.
      image_size: (height, width) of the photos it sees, in pixels, multiples of the patch; its table of positions is
        made for it.
      dtype: of activations and matrix products. Parameters, softmax and the norms' statistics are float32.
    """

    def __init__(self, config: TappedVitConfig, *, image_size: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs):
        check_frame("model.image_size", image_size, config.patch)
        grid = image_size[0] // config.patch, image_size[1] // config.patch
        super().__init__(config.vit(), grid=grid, dtype=dtype, rngs=rngs)
        norms = [
            layer_norm(config.width, epsilon=config.epsilon, dtype=dtype, rngs=rngs)
            for _ in range(config.maps * config.map_norms)
        ]
        self.norms = nnx.List(norms) if config.map_norms else None

    def __call__(
        self, image: Float[Array, "b h w 3"], *, key: Key[Array, ""] | None = None, rows: Rows | None = None
    ) -> tuple[Float[Array, "b gh gw d"], ...]:
        """Return the maps of normalised photos, the earliest first; `key` and `rows` as for `Vit.attend`."""
        features = self.features(image, key=key, rows=rows)
        maps = (*features.taps, features.map)
        return maps if self.norms is None else tuple(norm(one) for norm, one in zip(self.norms, maps, strict=True))
