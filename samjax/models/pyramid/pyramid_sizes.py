"""Sizes of pyramid vision transformers."""

from samjax.core.errors import UserError
from samjax.core.ranges import Count, DropRate, Pixels, config_class
from samjax.models.multiples import check_frame, check_multiples
from samjax.models.vit.blocks import Epsilon
from samjax.nn.reduction_attention import Reduction, has_reduction
from samjax.nn.stack import Remat

STRIDES = (4, 8, 16, 32)
"""Pixels of the photo to a token of each stage."""

Four = tuple[Count, Count, Count, Count]


@config_class("model.encoder")
class PyramidSizes:
    """Four stages of transformer blocks, each on a map half as large as the one before (PVT; PVT v2; SegFormer).

    The defaults are SegFormer's MiT-B2.
    """

    widths: Four = (64, 128, 320, 512)
    """Channels of a token in each stage, multiples of the stage's heads."""
    depths: Four = (3, 4, 6, 3)
    """Blocks of each stage."""
    heads: Four = (1, 2, 5, 8)
    """Attention heads of each stage."""
    reductions: Four = (8, 4, 2, 1)
    """How many times smaller the map of keys and values is on each side."""
    mlp_ratios: Four = (4, 4, 4, 4)
    """Hidden units of an MLP for each channel."""
    overlapping: bool = True
    """Whether a stage begins with a convolution whose kernels overlap and whose MLPs see neighbours (3 x 3, depthwise),
    as in PVT v2 and SegFormer; if not, with patches apart and a table of positions, as in PVT v1."""
    table_size: tuple[Pixels, Pixels] | None = None
    """(height, width) in pixels of the photos that tables of positions are made for, multiples of 32. For other photos
    they are resized bilinearly, as in PVT's code for segmentation; None makes them for the model's frame and for no
    other photo."""
    reduction: Reduction = Reduction.CONVOLUTION
    """How the map of keys and values is made smaller."""
    epsilon: Epsilon = 1e-6
    """Added to the variance in the norms of blocks and stages. Those of patches and reductions have 1e-5, as the
    authors' have."""
    drop_path: DropRate = 0.0
    """Rate at which the last block is dropped in training; it rises linearly from 0 at the first, over all stages."""
    remat: Remat = Remat.NONE
    """What a block keeps for the backward pass: everything, the results of dense layers, or its input alone."""

    def __post_init__(self):
        for stage, (width, heads) in enumerate(zip(self.widths, self.heads, strict=True)):
            check_multiples((f"model.encoder.widths[{stage}]", width, heads))
        if self.reduction is Reduction.POOL and not self.overlapping:
            raise UserError("model.encoder.reduction is POOL; only overlapping patches have it (PVT v2 Li)")

        if self.table_size is not None:
            if self.overlapping:
                raise UserError(f"model.encoder.table_size is {self.table_size}; overlapping patches have no tables")
            check_frame("model.encoder.table_size", self.table_size, STRIDES[-1])

    def is_reduced(self, stage: int) -> bool:
        """Return whether the stage's attention sees a smaller map."""
        return has_reduction(self.reductions[stage], self.reduction)
