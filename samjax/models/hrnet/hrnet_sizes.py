"""Sizes of high-resolution networks."""

import enum

from samjax.core.errors import UserError
from samjax.core.ranges import Count, DropRate, config_class
from samjax.models.multiples import check_multiples

STRIDES = (4, 8, 16, 32)
"""Pixels of the photo to a pixel of each branch."""

Three = tuple[Count, Count, Count]
Four = tuple[Count, Count, Count, Count]


class BranchBlock(enum.Enum):
    """What the blocks of a branch are."""

    TRANSFORMER = "transformer"
    """Attention within windows, and an MLP with a depthwise convolution (HRFormer)."""
    BASIC = "basic"
    """Two 3 x 3 convolutions (HRNet)."""


class Fuse(enum.Enum):
    """How the map of a branch comes to the size of another's, where a module adds up its branches.

    To a finer branch: a 1 x 1 convolution with a norm, then enlarging. To a coarser one: a step for each halving.
    """

    DEPTHWISE = "depthwise"
    """Enlarged by repeating pixels, then bilinearly to sizes that are no multiples; a step is a depthwise 3 x 3
    convolution of stride 2, then a 1 x 1 convolution (HRFormer)."""
    PLAIN = "plain"
    """Enlarged bilinearly; a step is a 3 x 3 convolution of stride 2 (HRNet)."""


@config_class("model.encoder")
class HrnetSizes:
    """A stem, bottlenecks at stride 4, then three stages of modules with two, three and four branches.

    A module applies blocks to each branch, then adds all branches to each. The defaults are HRFormer-S's.
    """

    widths: Four = (32, 64, 128, 256)
    """Channels of each branch; with transformer blocks, multiples of its heads."""
    bottlenecks: Count = 2
    """Bottlenecks before the first stage."""
    modules: Three = (1, 4, 2)
    """Modules of the stages with two, three and four branches."""
    blocks: Count = 2
    """Blocks of each branch in a module."""
    block: BranchBlock = BranchBlock.TRANSFORMER
    """What the blocks are."""
    fuse: Fuse = Fuse.DEPTHWISE
    """How branches come to each other's sizes."""
    heads: Four = (1, 2, 4, 8)
    """Attention heads of each branch; only transformer blocks have them."""
    window: Count = 7
    """Side of an attention window in tokens; only transformer blocks have them."""
    mlp_ratio: Count = 4
    """Hidden units of a transformer block's MLP for each channel."""
    drop_path: DropRate = 0.0
    """Rate at which the last transformer block of each branch is dropped in training; it rises linearly from 0 at the
    first, over all stages."""

    def __post_init__(self):
        if self.block is BranchBlock.TRANSFORMER:
            for branch, (width, heads) in enumerate(zip(self.widths, self.heads, strict=True)):
                check_multiples((f"model.encoder.widths[{branch}]", width, heads))
        elif self.drop_path > 0.0:
            raise UserError(f"model.encoder.drop_path is {self.drop_path}; blocks that are {self.block.name} drop none")

    @property
    def depth(self) -> int:
        """Blocks of a branch that passes through all stages."""
        return sum(self.modules) * self.blocks
