"""Training data of photos with masks (SA-1B's records): mask selection, views of photos, and examples."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from samjax.core.batches import Batch
from samjax.core.errors import UserError
from samjax.core.ranges import Count, CountOrNone, Probability, Range, Share, config_class
from samjax.data.colour_change import ColourChange
from samjax.data.frame import Decoding, frame_photo
from samjax.data.masks.packing import packed_width
from samjax.data.masks.sampling import MaskRules, draw_masks
from samjax.data.records import masks as records
from samjax.data.records.schema import Schema
from samjax.data.stream.data_config import DataConfig
from samjax.data.stream.example import Example, UnusableRecordError
from samjax.data.view import View, ViewRules

_Scale = Annotated[float, Range(above=0, below=16, why="a photo's size is multiplied by it")]


@config_class("data")
class MaskDataConfig(DataConfig):
    """Photos with masks, in TFDS's segment_anything schema. `source` may also be `synthetic:` and its parameters
    (docs/data.md), and on the command line tars in SA-1B's layout."""

    max_masks: Count = 64
    """Mask slots per photo; if it has more masks, each epoch draws this many at random."""
    max_area_fraction: Share = 0.9
    """Exclude masks that cover more than this share of the photo."""
    min_area_fraction: Share = 0.0
    """Exclude masks that cover less than this share of the photo."""
    min_area: CountOrNone = 0
    """Exclude masks with fewer pixels, counted in the photo."""
    min_predicted_iou: Share = 0.0
    """Exclude masks with a lower predicted IoU; 0 excludes none."""
    min_stability_score: Share = 0.0
    """Exclude masks with a lower stability score; 0 excludes none."""
    scale_jitter: tuple[_Scale, _Scale] = (1.0, 1.0)
    """Smallest and largest random scale of the fitted photo, before it is cropped or padded to the frame; (0.1, 2.0) is
    ViTDet's large-scale jitter, (1.0, 1.0) none. Training only."""
    flip_probability: Probability = 0.0
    """Probability that a photo and its masks are mirrored, left and right. Training only."""
    upside_down_probability: Probability = 0.0
    """Probability that a photo and its masks are mirrored, top and bottom: for microscopes and views from above.
    Training only."""
    colour_jitter: Annotated[float, Range(at_least=0, at_most=1, why="factors down to 1 minus it are drawn")] = 0.0
    """Brightness, contrast and saturation are each multiplied by a random factor between 1 minus and 1 plus this; 0
    changes none. Training only."""
    decoding: Decoding = Decoding.EXACT
    """EXACT equals PIL's pixels bit for bit; SCALED is within one grey level on average, and faster for frames below
    600."""

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
        """Return the rules for random views."""
        return ViewRules(**{field.name: getattr(self, field.name) for field in dataclasses.fields(ViewRules)})


class MaskExamples:
    """Decodes a record, fits a view of its photo into the model's frame and samples masks; an `ExampleMaker`.

    `image_size` is the model's frame, (height, width). Without `augment` every photo is shown whole, as for validation.
    """

    def __init__(self, config: MaskDataConfig, *, image_size: tuple[int, int], augment: bool = True):
        if min(image_size) < 1:
            raise UserError(f"image size {image_size}: sides must be at least 1 pixel")
        self._max_masks = config.max_masks
        self._mask_rules = config.mask_rules()
        self._view_rules = config.view_rules() if augment else ViewRules()
        self._colour_jitter = config.colour_jitter if augment else 0.0
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
        """Return a photo with a random selection of its masks.

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
        colours = ColourChange.draw(rng, strength=self._colour_jitter) if self._colour_jitter else None
        photo = self.photo(record, view, colours)
        drawn = len(masks.masks)
        counts = {"without_masks": int(not drawn), "masks": drawn}
        counts |= {f"masks_{reason}": count for reason, count in masks.left_out._asdict().items()}
        if not drawn:
            raise UnusableRecordError(f"no usable mask: {masks.left_out}", counts)
        arrays = {
            **photo,
            "valid_size": np.array(view.window, np.int32),
            "masks": masks.masks,
            "mask_valid": np.ones(drawn, bool),
        }
        return Example(arrays=arrays, record_id=record.image_id, counts=counts)

    def photo(self, record: records.Record, view: View, colours: ColourChange | None = None) -> dict[str, np.ndarray]:
        """Return what the model gets of the photo itself.

        Raises:
          PhotoError: the record is corrupt.
        """
        frame, decoding = self._frame, self._decoding
        return {"image": frame_photo(record.jpeg, view=view, frame=frame, decoding=decoding, colours=colours)}
