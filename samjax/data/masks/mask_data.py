"""Photos with masks to learn (SA-1B's records): which masks are used, how photos are shown, and the examples made."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from samjax.core.batches import Batch
from samjax.core.errors import UserError
from samjax.core.ranges import Count, CountOrNone, Probability, Range, Share, config_class
from samjax.data.frame import Decoding, frame_photo
from samjax.data.masks.packing import packed_width
from samjax.data.masks.sampling import MaskRules, draw_masks
from samjax.data.records import masks as records
from samjax.data.records.schema import Schema
from samjax.data.stream.data_config import DataConfig
from samjax.data.stream.example import Example, UnusableRecordError
from samjax.data.view import ViewRules

_Scale = Annotated[float, Range(above=0, below=16, why="a photo's size is multiplied by it")]


@config_class("data")
class MaskDataConfig(DataConfig):
    """Photos with masks, in TFDS's segment_anything schema. `source` may also be `synthetic:` and its parameters
    (docs/data.md), and on the command line tars in SA-1B's layout."""

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


class MaskExamples:
    """Decodes a record, fits a view of its photo to the model's frame and draws its masks; an `ExampleMaker`.

    `image_size` is the model's frame, (height, width). Without `augment` every photo is shown whole, as for validation.
    """

    def __init__(self, config: MaskDataConfig, *, image_size: tuple[int, int], augment: bool = True):
        if min(image_size) < 1:
            raise UserError(f"image size {image_size}: sides must be at least 1 pixel")
        self._max_masks = config.max_masks
        self._mask_rules = config.mask_rules()
        self._view_rules = config.view_rules() if augment else ViewRules()
        self._decoding = config.decoding
        self._frame = image_size

    @property
    def schema(self) -> Schema:
        """TFDS's segment_anything."""
        return records.SCHEMA

    @property
    def batch(self) -> Callable[..., Any]:
        """`Batch`."""
        return Batch

    def row(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of one photo's row of a `Batch`."""
        height, width = self._frame
        return {
            "image": jax.ShapeDtypeStruct((height, width, 3), jnp.uint8),
            "valid_size": jax.ShapeDtypeStruct((2,), jnp.int32),
            "masks": jax.ShapeDtypeStruct((self._max_masks, height, packed_width(width)), jnp.uint8),
            "mask_valid": jax.ShapeDtypeStruct((self._max_masks,), jnp.bool_),
        }

    def example(self, record: records.Record, rng: np.random.Generator) -> Example:
        """Return a photo with masks drawn from its own.

        Raises:
          UnusableRecordError: none of its masks can be used.
          PhotoError: or RleError: the record is corrupt.
        """
        size = (record.height, record.width)
        view = self._view_rules.draw(rng, photo=size, frame=self._frame)
        masks = draw_masks(
            record.annotations,
            rng,
            size=size,
            grid=view.grid(self._frame),
            rules=self._mask_rules,
            max_masks=self._max_masks,
        )
        # After the masks, which are cheaper to find broken; also of a photo without masks, to count it as corrupt.
        image = frame_photo(record.jpeg, view=view, frame=self._frame, decoding=self._decoding)
        drawn = len(masks.masks)
        counts = {"without_masks": int(not drawn), "masks": drawn}
        counts |= {f"masks_{reason}": count for reason, count in masks.left_out._asdict().items()}
        if not drawn:
            raise UnusableRecordError(f"no usable mask: {masks.left_out}", counts)
        arrays = {
            "image": image,
            "valid_size": np.array(view.window, np.int32),
            "masks": masks.masks,
            "mask_valid": np.ones(drawn, bool),
        }
        return Example(arrays=arrays, record_id=record.image_id, counts=counts)
