"""Sizes of Swin transformers."""

from samjax.core.errors import UserError
from samjax.core.ranges import Count, CountOrNone, DropRate, config_class
from samjax.models.multiples import check_multiples
from samjax.nn.stack import Remat

PATCH = 4
"""Pixels along a side of the first stage's patches."""
STRIDES = (4, 8, 16, 32)
"""Pixels of the photo to a token of each stage."""
EPSILON = 1e-5
"""Added to the variance in every norm."""

Four = tuple[Count, Count, Count, Count]


@config_class("model.encoder")
class SwinSizes:
    """Four stages of transformer blocks that attend within windows, shifted in every second block (Liu et al. 2021).

    The defaults are Swin-T's.
    """

    width: Count = 96
    """Channels of a token in the first stage; each later one has twice as many."""
    depths: Four = (2, 2, 6, 2)
    """Blocks of each stage, even: pairs of one whose windows tile the map and one whose windows are shifted by half."""
    heads: Four = (3, 6, 12, 24)
    """Attention heads of each stage."""
    window: Count = 7
    """Tokens along a side of a window. A smaller map is padded to it."""
    mlp_ratio: Count = 4
    """Hidden units of an MLP for each channel."""
    maps: tuple[CountOrNone, ...] = (0, 1, 2, 3)
    """The stages whose maps it returns, each with a norm of its own."""
    drop_path: DropRate = 0.0
    """Rate at which the last block is dropped in training; it rises linearly from 0 at the first, over all stages."""
    remat: Remat = Remat.NONE
    """What a block keeps for the backward pass: everything, the results of dense layers, or its input alone."""

    def __post_init__(self):
        for stage, (width, heads) in enumerate(zip(self.widths, self.heads, strict=True)):
            check_multiples((f"the width of model.encoder's stage {stage}", width, heads))
        odd = [depth for depth in self.depths if depth % 2]
        if odd:
            raise UserError(
                f"model.encoder.depths has {odd[0]}; blocks come in pairs, so every stage has an even number"
            )
        if not self.maps or list(self.maps) != sorted({*self.maps} & {*range(4)}):
            raise UserError(f"model.encoder.maps is {self.maps}; expected some of the stages 0 to 3, in their order")

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels of a token in each stage."""
        return self.width, 2 * self.width, 4 * self.width, 8 * self.width
