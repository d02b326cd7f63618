"""Photos with the class of every pixel: how views of them are drawn, and the examples made."""

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int16

from samjax.core.batches import SegmentBatch
from samjax.core.ranges import Range, config_class
from samjax.data.crop_data import CropDataConfig, frame_map, window_of
from samjax.data.crop_examples import CropExamples
from samjax.data.masks import rle
from samjax.data.records import masks
from samjax.data.records import segments as records
from samjax.data.records.schema import RecordError, Schema
from samjax.data.stream.example import Example, UnusableRecordError
from samjax.data.view import View

_Part = Annotated[float, Range(above=0, at_most=1, why="it is a share of a crop's pixels")]


@config_class("data")
class SegmentDataConfig(CropDataConfig):
    """Photos with the class of every pixel, prepared by `samjax data prepare --classes`.

    The defaults are mmsegmentation's for ADE20K: a photo is scaled to fit 2048 x 512, times a factor of 0.5 to 2, and
    a crop as large as the model's frame is cut from it, padded where the photo is smaller. Validation sees whole
    photos, scaled to fit the frame.
    """

    of_masks: bool = False
    """Read records of masks instead, such as SA-1B's: class 1 where a mask is, 0 elsewhere."""
    most_of_class: _Part = 0.75
    """A crop is drawn again where a class has more than this share of its pixels. Training only."""


class SegmentExamples(CropExamples[SegmentDataConfig]):
    """Decodes a record, and cuts a crop of its photo and of its classes; an `ExampleMaker`.

    `classes` is how many the model has; the rest is as for `CropExamples`.
    """

    def __init__(self, config: SegmentDataConfig, *, image_size: tuple[int, int], classes: int, augment: bool = True):
        super().__init__(config, image_size=image_size, augment=augment)
        self._classes = classes

    @property
    def schema(self) -> Schema:
        """Photos with segments, or with masks."""
        return masks.SCHEMA if self.config.of_masks else records.SCHEMA

    @property
    def batch(self) -> Callable[..., Any]:
        """`SegmentBatch`."""
        return SegmentBatch

    def row(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of one photo's row of a `SegmentBatch`."""
        return {**self.photo_row(), "labels": jax.ShapeDtypeStruct(self.frame, jnp.int16)}

    def example(self, record: records.Record | masks.Record, rng: np.random.Generator) -> Example:
        """Return a crop of a photo and of its classes.

        Raises:
          UnusableRecordError: no pixel of the photo has a class.
          RecordError: or PhotoError or RleError: the record is corrupt, or has a class that the model has not.
        """
        classes = object_classes(record) if isinstance(record, masks.Record) else record.classes()
        if classes.max() >= self._classes:
            raise RecordError(f"it has the class {classes.max()}; the model has {self._classes}, numbered from 0")
        counts = {"without_classes": int(classes.max() < 0)}
        if counts["without_classes"]:
            raise UnusableRecordError("no pixel has a class", counts)

        def is_good(view: View) -> bool:
            labels = window_of(classes, view)
            counts = np.bincount(labels[labels >= 0].ravel())
            return bool(len(counts) and counts.max() <= self.config.most_of_class * counts.sum())

        view, arrays = self.crop(record, rng, is_good=is_good)
        arrays["labels"] = frame_map(classes, view, self.frame, around=records.UNLABELLED)
        return Example(arrays=arrays, record_id=record.image_id, counts=counts)


def object_classes(record: masks.Record) -> Int16[np.ndarray, "h w"]:
    """Return 1 where a mask of the record is, 0 elsewhere.

    Raises:
      RleError: a mask is damaged.
    """
    found = np.zeros((record.height, record.width), np.int16)
    for one in record.annotations:
        found[rle.decode(one.counts, height=record.height, width=record.width)] = 1
    return found
