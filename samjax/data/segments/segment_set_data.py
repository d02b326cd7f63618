"""Photos with their segments: how views of them are drawn, and the examples made."""

import enum
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, Int16

from samjax.core.batches import NO_SEGMENT, SegmentSetBatch
from samjax.core.ranges import Count, Pixels, config_class
from samjax.data.crop_data import CropDataConfig, Factor, frame_map, window_of
from samjax.data.crop_examples import CropExamples
from samjax.data.masks import rle
from samjax.data.records import masks
from samjax.data.records import segments as records
from samjax.data.records.schema import RecordError, Schema
from samjax.data.stream.example import Example, UnusableRecordError
from samjax.data.view import View


class Grouping(enum.Enum):
    """What counts as one segment."""

    PANOPTIC = "panoptic"
    """Each thing, and all that there is of a class that cannot be counted."""
    INSTANCE = "instance"
    """Each thing; pixels of other classes are of none."""
    SEMANTIC = "semantic"
    """All that there is of a class."""


@config_class("data")
class SegmentSetDataConfig(CropDataConfig):
    """Photos with segments, prepared by `samjax data prepare --classes`.

    The defaults are Mask2Former's for COCO: large-scale jitter, which scales a photo to fit 1024 x 1024, times a factor
    of 0.1 to 2, and a crop as large as the model's frame. Validation sees whole photos, scaled to fit the frame.
    """

    fit: tuple[Pixels, Pixels] = (1024, 1024)
    """Longest and shortest side that the whole photo is scaled to fit, before `scale_jitter`. Training only."""
    scale_jitter: tuple[Factor, Factor] = (0.1, 2.0)
    """Smallest and largest random factor of the fitted photo's size, drawn uniformly. Training only."""
    of_masks: bool = False
    """Read records of masks instead, such as SA-1B's: each mask is a thing of class 0. Of pixels in several, the
    smallest mask has them."""
    grouping: Grouping = Grouping.PANOPTIC
    """What counts as one segment. Crowds never do."""
    slots: Count = 100
    """Most segments of a photo; of more, the smallest are left out and counted."""


class SegmentSetExamples(CropExamples[SegmentSetDataConfig]):
    """Decodes a record, and cuts a crop of its photo and of its segments; an `ExampleMaker`.

    `classes` is how many the model has; the rest is as for `CropExamples`.
    """

    def __init__(
        self, config: SegmentSetDataConfig, *, image_size: tuple[int, int], classes: int, augment: bool = True
    ):
        super().__init__(config, image_size=image_size, augment=augment)
        self._classes = classes

    @property
    def schema(self) -> Schema:
        """Photos with segments, or with masks."""
        return masks.SCHEMA if self.config.of_masks else records.SCHEMA

    @property
    def batch(self) -> Callable[..., Any]:
        """`SegmentSetBatch`."""
        return SegmentSetBatch

    def row(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of one photo's row of a `SegmentSetBatch`."""
        return {
            **self.photo_row(),
            "segment_map": jax.ShapeDtypeStruct(self.frame, jnp.int16),
            "classes": jax.ShapeDtypeStruct((self.config.slots,), jnp.int16),
        }

    def example(self, record: records.Record | masks.Record, rng: np.random.Generator) -> Example:
        """Return a crop of a photo and of its segments, the largest first.

        Raises:
          UnusableRecordError: the photo has no segment.
          RecordError: or PhotoError or RleError: the record is corrupt, or has a class that the model has not.
        """
        if isinstance(record, masks.Record):
            whole, classes = masks_as_segments(record)
        else:
            whole, classes = segments_of(record, self.config.grouping)
        if classes and max(classes) >= self._classes:
            raise RecordError(f"it has the class {max(classes)}; the model has {self._classes}, numbered from 0")
        if not classes:
            raise UnusableRecordError("it has no segment", {"without_segments": 1})

        def is_good(view: View) -> bool:
            return bool((window_of(whole, view) != NO_SEGMENT).any())

        view, arrays = self.crop(record, rng, is_good=is_good)
        seen, kept, left_out = largest(frame_map(whole, view, self.frame, around=NO_SEGMENT), self.config.slots)
        arrays["segment_map"] = seen
        arrays["classes"] = np.full(self.config.slots, NO_SEGMENT, np.int16)
        arrays["classes"][: len(kept)] = [classes[one] for one in kept]
        counts = {"without_segments": 0, "segments_used": len(kept), "segments_left_out": left_out}
        return Example(arrays=arrays, record_id=record.image_id, counts=counts)


def segments_of(record: records.Record, grouping: Grouping) -> tuple[Int16[np.ndarray, "h w"], list[int]]:
    """Return which segment each pixel belongs to, from 0, and the segments' classes.

    Raises:
      RecordError: see `records.Record.ids`.
    """
    ids = record.ids()
    numbers: dict[tuple[str, int], int] = {}
    classes: list[int] = []
    table: dict[int, int] = {}
    for one in record.segments:
        if one.crowd or (grouping is Grouping.INSTANCE and not one.thing):
            continue
        is_own = one.thing and grouping is not Grouping.SEMANTIC
        key = ("thing", one.id) if is_own else ("class", one.category)
        if key not in numbers:
            numbers[key] = len(classes)
            classes.append(one.category)
        table[one.id] = numbers[key]
    lookup = np.full(int(ids.max()) + 1, NO_SEGMENT, np.int16)
    for identifier, number in table.items():
        if identifier < len(lookup):
            lookup[identifier] = number
    return lookup[ids], classes


def masks_as_segments(record: masks.Record) -> tuple[Int16[np.ndarray, "h w"], list[int]]:
    """Return which mask each pixel belongs to, the smallest of several, and the masks' classes, all 0.

    Raises:
      RleError: a mask is damaged.
    """
    size = {"height": record.height, "width": record.width}
    found = np.full((record.height, record.width), NO_SEGMENT, np.int16)
    counts = [one.counts for one in record.annotations]
    for number in np.argsort(-rle.measure(rle.join(counts), **size), kind="stable").tolist():
        found[rle.decode(counts[number], **size)] = number
    return found, [0] * len(counts)


def largest(segment_map: Int[np.ndarray, "h w"], slots: int) -> tuple[Int16[np.ndarray, "h w"], list[int], int]:
    """Return a map with its largest segments alone, numbered from 0, the largest first; their former numbers; and how
    many are left out."""
    there, areas = np.unique(segment_map[segment_map != NO_SEGMENT], return_counts=True)
    order = there[np.argsort(-areas, kind="stable")].tolist()
    kept = order[:slots]
    lookup = np.full(int(there.max(initial=0)) + 1, NO_SEGMENT, np.int16)
    lookup[kept] = np.arange(len(kept))
    return (
        np.where(segment_map == NO_SEGMENT, NO_SEGMENT, lookup[segment_map]).astype(np.int16),
        kept,
        len(order) - len(kept),
    )
