"""What a user says of the data: where it is, which masks of it are used, how photos are shown and loaded."""

import dataclasses
from typing import Annotated

from samjax.core.errors import UserError
from samjax.core.ranges import Count, CountOrNone, Probability, Range, Share, config_class
from samjax.data.frame import Decoding
from samjax.data.masks.sampling import MaskRules
from samjax.data.view import ViewRules

_Scale = Annotated[float, Range(above=0, below=16, why="a photo's size is multiplied by it")]


@config_class("data.mixed_in")
class MixedSourceConfig:
    """A data set mixed into the first."""

    source: str
    """Folder, as `DataConfig.source`."""
    split: str = "train"
    """Split of that data set, or several as `train+extra`."""
    weight: Annotated[float, Range(above=0, why="at 0 the data set would not be read")] = 1.0
    """Photos of it for each photo of `DataConfig.source`, to about 1% of the smallest weight."""


@config_class("data")
class DataConfig:
    """Where the photos are, which of their masks are used, and how they are loaded."""

    source: str
    """Folder prepared by `samjax data prepare`, or by TFDS in its segment_anything schema; `synthetic:` and its
    parameters (docs/data.md); on the command line also tars in SA-1B's layout, which are prepared first."""
    split: str = "train"
    """Split of that data set, or several as `train+extra`."""
    mixed_in: tuple[MixedSourceConfig, ...] = ()
    """Further data sets, each in an endless order of its own, dealt out by weight; that of `source` is 1."""
    max_masks: Count = 64
    """Mask slots of a photo; where it has more, this many are drawn afresh each epoch."""
    max_area_fraction: Share = 0.9
    """Masks that cover more than this share of the photo are left out."""
    min_area_fraction: Share = 0.0
    """Masks that cover less than this share of the photo are left out."""
    min_area: CountOrNone = 0
    """Masks of fewer pixels of the photo are left out."""
    min_predicted_iou: Share = 0.0
    """Masks whose predicted IoU is below are left out; 0 asks for nothing."""
    min_stability_score: Share = 0.0
    """Masks whose stability score is below are left out; 0 asks for nothing."""
    scale_jitter: tuple[_Scale, _Scale] = (1.0, 1.0)
    """Least and greatest random factor on the fitted photo's size, then cropped or padded to the frame; (0.1, 2.0) is
    ViTDet's large-scale jitter, (1.0, 1.0) none. Not in validation."""
    flip_probability: Probability = 0.0
    """Chance that a photo and its masks are mirrored, left and right. Not in validation."""
    decoding: Decoding = Decoding.EXACT
    """EXACT is PIL's pixels bit for bit, SCALED within one grey level on average and faster for frames below 600."""
    threads: Count = 8
    """Threads that read and decode, in each worker process."""
    workers: CountOrNone = 0
    """Worker processes that read and decode; 0 does it in threads of this process."""
    prefetch_photos: Count = 32
    """Decoded photos held ready, in each worker process."""
    prefetch_batches: Count = 2
    """Batches assembled and on their way to the devices ahead of the step."""

    def __post_init__(self):
        if not self.min_area_fraction < self.max_area_fraction:
            raise UserError(
                f"data.min_area_fraction is {self.min_area_fraction}; it must be below data.max_area_fraction, "
                f"{self.max_area_fraction}: no mask could be used"
            )
        least, most = self.scale_jitter
        if least > most:
            raise UserError(f"data.scale_jitter is {self.scale_jitter}; give the least factor before the greatest")

    def mask_rules(self) -> MaskRules:
        """Return which masks can be used."""
        return MaskRules(**{field.name: getattr(self, field.name) for field in dataclasses.fields(MaskRules)})

    def view_rules(self) -> ViewRules:
        """Return how views of photos are drawn."""
        return ViewRules(scale_jitter=self.scale_jitter, flip_probability=self.flip_probability)

    def as_they_are(self) -> "DataConfig":
        """Return this with every photo shown whole, for validation."""
        return dataclasses.replace(self, scale_jitter=(1.0, 1.0), flip_probability=0.0)
