"""What an automatic mask must be."""

from dataclasses import dataclass, replace

from samjax.core.errors import UserError

CANDIDATES = 3
"""Masks that a point may mean."""

_MOST_LAYERS = 4  # 341 crops


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Grid, filters and clean-up of automatic masks (Segment Anything, section 4 and appendix B).

    The defaults are the released generator's; `sa1b` are the settings that SA-1B was made with.
    """

    points_per_side: int = 32
    """Of the whole photo's grid."""
    masks_per_point: int = CANDIDATES
    """The three candidates of an ambiguous prompt; or 1, the mask that answers an unambiguous one, for comparison."""
    points_per_batch: int = 64
    """Points of a photo decoded at once. Changes memory and speed alone."""
    pred_iou_threshold: float = 0.88
    """Candidates whose predicted IoU is above it go on; 0 lets all."""
    stability_threshold: float = 0.95
    """Of those, masks go on that lose no more than the rest when the threshold on logits is raised; 0 lets all."""
    stability_offset: float = 1.0
    """The stability is the area at logits above this, over the area at logits above minus this."""
    box_nms_threshold: float = 0.7
    """Of two masks of a crop whose boxes' IoU is above it, the one with the lower predicted IoU is dropped."""
    crop_layers: int = 0
    """Layer i looks at 2^i x 2^i overlapping crops of the photo, besides the whole."""
    crop_nms_threshold: float = 0.7
    """As `box_nms_threshold`, between crops: the mask of the larger crop is dropped."""
    crop_overlap: float = 512 / 1500
    """How much of the photo's shorter side neighbouring crops of layer 1 share; half as much in each layer after it."""
    points_downscale: int = 1
    """Each layer has this many times fewer points a side than the one before."""
    min_region_area: int = 0
    """Holes and islands of fewer pixels are filled and removed; 0 leaves masks alone."""
    max_area_fraction: float = 1.0
    """Masks that cover more of the photo are dropped."""

    def __post_init__(self):
        if self.masks_per_point not in (1, CANDIDATES):
            raise UserError(f"masks_per_point is {self.masks_per_point}; it must be 1 or {CANDIDATES}")
        for name in ("points_per_side", "points_per_batch", "points_downscale"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("crop_layers", "min_region_area", "stability_offset"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"{name} is {getattr(self, name)}; it must be at least 0")
        for name in (
            "pred_iou_threshold",
            "stability_threshold",
            "box_nms_threshold",
            "crop_nms_threshold",
            "crop_overlap",
            "max_area_fraction",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be between 0 and 1")
        if self.crop_layers > _MOST_LAYERS:
            raise UserError(f"crop_layers is {self.crop_layers}, {4**self.crop_layers} crops; give at most 4")
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
