"""What a user says of the data: where it is, which masks of it are used, how photos are shown and loaded."""

import dataclasses
import math

from samjax.core.errors import UserError
from samjax.data.frame import Decoding
from samjax.data.sampling import MaskRules
from samjax.data.view import ViewRules


@dataclasses.dataclass(frozen=True, kw_only=True)
class MixedSourceConfig:
    """A data set mixed into the first."""

    source: str
    """Folder, as `DataConfig.source`."""
    split: str = "train"
    """Split of that data set, or several as `train+extra`."""
    weight: float = 1.0
    """Photos of it for each photo of `DataConfig.source`, to about 1% of the smallest weight."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the photos are, which of their masks are used, and how they are loaded."""

    source: str
    """Folder prepared by `samjax data prepare`, or by TFDS in its segment_anything schema; `synthetic:` and its
    parameters (docs/data.md); on the command line also tars in SA-1B's layout, which are prepared first."""
    split: str = "train"
    """Split of that data set, or several as `train+extra`."""
    mixed_in: tuple[MixedSourceConfig, ...] = ()
    """Further data sets, each in an endless order of its own, dealt out by weight; that of `source` is 1."""
    max_masks: int = 64
    """Mask slots of a photo; where it has more, this many are drawn afresh each epoch."""
    max_area_fraction: float = 0.9
    """Masks that cover more than this share of the photo are left out."""
    min_area_fraction: float = 0.0
    """Masks that cover less than this share of the photo are left out."""
    min_area: int = 0
    """Masks of fewer pixels of the photo are left out."""
    min_predicted_iou: float = 0.0
    """Masks whose predicted IoU is below are left out; 0 asks for nothing."""
    min_stability_score: float = 0.0
    """Masks whose stability score is below are left out; 0 asks for nothing."""
    scale_jitter: tuple[float, float] = (1.0, 1.0)
    """Least and greatest random factor on the fitted photo's size, then cropped or padded to the frame; (0.1, 2.0) is
    ViTDet's large-scale jitter, (1.0, 1.0) none. Not in validation."""
    flip_probability: float = 0.0
    """Chance that a photo and its masks are mirrored, left and right. Not in validation."""
    decoding: Decoding = Decoding.EXACT
    """EXACT is PIL's pixels bit for bit, SCALED within one grey level on average and faster for frames below 600."""
    threads: int = 8
    """Threads that read and decode, in each worker process."""
    workers: int = 0
    """Worker processes that read and decode; 0 does it in threads of this process."""
    prefetch_photos: int = 32
    """Decoded photos held ready, in each worker process."""
    prefetch_batches: int = 2
    """Batches assembled and on their way to the devices ahead of the step."""

    def check(self) -> None:
        """Raise UserError where a value cannot be used."""
        for name, least in (
            ("max_masks", 1),
            ("threads", 1),
            ("workers", 0),
            ("prefetch_photos", 1),
            ("prefetch_batches", 1),
        ):
            if getattr(self, name) < least:
                raise UserError(f"data {name} is {getattr(self, name)}: give at least {least}")
        self.mask_rules().check()
        least, most = self.scale_jitter
        if not 0 < least <= most < _LARGEST_SCALE:
            raise UserError(
                f"data scale_jitter is {self.scale_jitter}: give the least and the greatest factor, above 0 and below "
                f"{_LARGEST_SCALE}"
            )
        if not 0 <= self.flip_probability <= 1:
            raise UserError(f"data flip_probability is {self.flip_probability}: give a chance from 0 to 1")
        for other in self.mixed_in:
            if not (other.weight > 0 and math.isfinite(other.weight)):
                raise UserError(
                    f"the weight of {other.source or 'a mixed_in source'} is {other.weight}: give one above 0"
                )

    def mask_rules(self) -> MaskRules:
        """Return which masks can be used."""
        return MaskRules(**{field.name: getattr(self, field.name) for field in dataclasses.fields(MaskRules)})

    def view_rules(self) -> ViewRules:
        """Return how views of photos are drawn."""
        return ViewRules(scale_jitter=self.scale_jitter, flip_probability=self.flip_probability)

    def as_they_are(self) -> "DataConfig":
        """Return this with every photo shown whole, for validation."""
        return dataclasses.replace(self, scale_jitter=(1.0, 1.0), flip_probability=0.0)


_LARGEST_SCALE = 16
