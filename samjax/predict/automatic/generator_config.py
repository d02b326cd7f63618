"""Settings of automatic masks."""

from dataclasses import replace
from typing import Annotated

from samjax.core.errors import UserError
from samjax.core.ranges import Count, CountOrNone, Range, Share, config_class

CANDIDATES = 3
"""Masks that a point may mean."""


@config_class("")
class GeneratorConfig:
    """Grid, filters and clean-up of automatic masks (Segment Anything, section 4 and appendix B).

    The defaults are the released generator's; `sa1b` are the settings that SA-1B was made with.
    """

    points_per_side: Count = 32
    """Points along each side of the whole photo's grid."""
    masks_per_point: Annotated[int, Range(one_of=(1, CANDIDATES), why="the model has these outputs")] = CANDIDATES
    """The three candidates of an ambiguous prompt; or 1, the mask that answers an unambiguous one, for comparison."""
    points_per_batch: Count = 64
    """Points decoded per batch. Affects only memory and speed."""
    pred_iou_threshold: Share = 0.88
    """Candidates need a predicted IoU above this; 0 keeps all."""
    stability_threshold: Share = 0.95
    """Masks need a stability score above this; 0 keeps all."""
    stability_offset: Annotated[float, Range(at_least=0, why="it is a distance from the threshold")] = 1.0
    """The stability is the area at logits above this, over the area at logits above minus this."""
    box_nms_threshold: Share = 0.7
    """Of two masks of a crop whose boxes' IoU is above it, the one with the lower predicted IoU is dropped."""
    crop_layers: Annotated[int, Range(at_least=0, at_most=4, why="4 layers are 341 crops of a photo")] = 0
    """In addition to the whole photo, layer i processes 2^i x 2^i overlapping crops."""
    crop_nms_threshold: Share = 0.7
    """As `box_nms_threshold`, between crops: the mask of the larger crop is dropped."""
    crop_overlap: Share = 512 / 1500
    """How much of the photo's shorter side neighbouring crops of layer 1 share; half as much in each layer after it."""
    points_downscale: Count = 1
    """Each layer has this many times fewer points per side than the one before."""
    min_region_area: CountOrNone = 0
    """Holes with fewer pixels are filled and islands with fewer pixels removed; 0 leaves masks unchanged."""
    max_area_fraction: Share = 1.0
    """Masks that cover more than this share of the photo are dropped."""

    def __post_init__(self):
        if self.points_in(self.crop_layers) < 1:
            raise UserError(
                f"points_per_side {self.points_per_side} leaves no point in layer {self.crop_layers} with "
                f"points_downscale {self.points_downscale}; give more points or fewer crop_layers"
            )

    def points_in(self, layer: int) -> int:
        """Return the points a side of the grid in each crop of `layer`."""
        return int(self.points_per_side / self.points_downscale**layer)

    @classmethod
    def sa1b(cls, **changes) -> "GeneratorConfig":
        """Return the paper's fully automatic setting; `changes` to any field."""
        base = cls(crop_layers=2, points_downscale=2, min_region_area=100, max_area_fraction=0.95)
        return replace(base, **changes)
