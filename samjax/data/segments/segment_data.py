"""Photos with the class of every pixel: how views of them are drawn, and the examples made."""

import dataclasses
from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int16

from samjax.core.batches import SegmentBatch
from samjax.core.errors import UserError
from samjax.core.ranges import Count, Pixels, Probability, Range, config_class
from samjax.data.frame import Decoding, frame_photo
from samjax.data.masks import rle
from samjax.data.masks.packing import nearest_positions
from samjax.data.records import masks
from samjax.data.records import segments as records
from samjax.data.records.schema import RecordError, Schema
from samjax.data.segments.photometric import PhotometricConfig
from samjax.data.stream.data_config import DataConfig
from samjax.data.stream.example import Example, UnusableRecordError
from samjax.data.view import WHOLE, View

_Scale = Annotated[float, Range(above=0, below=16, why="a photo's size is multiplied by it")]
_Part = Annotated[float, Range(above=0, at_most=1, why="it is a share of a crop's pixels")]


@config_class("data")
class SegmentDataConfig(DataConfig):
    """Photos with the class of every pixel, prepared by `samjax data prepare --classes`.

    The defaults are mmsegmentation's for ADE20K: a photo is scaled to fit 2048 x 512, times a factor of 0.5 to 2, and
    a crop as large as the model's frame is cut from it, padded where the photo is smaller. Validation sees whole
    photos, scaled to fit the frame.
    """

    of_masks: bool = False
    """Read records of masks instead, such as SA-1B's: class 1 where a mask is, 0 elsewhere."""
    fit: tuple[Pixels, Pixels] = (2048, 512)
    """Longest and shortest side that the whole photo is scaled to fit, before `scale_jitter`. Training only."""
    scale_jitter: tuple[_Scale, _Scale] = (0.5, 2.0)
    """Smallest and largest random factor of the fitted photo's size, drawn uniformly. Training only."""
    aspect_jitter: tuple[_Scale, _Scale] = (1.0, 1.0)
    """Smallest and largest random factor of the photo's width alone. Training only."""
    most_of_class: _Part = 0.75
    """A crop is drawn again where a class has more than this share of its pixels. Training only."""
    crop_tries: Count = 10
    """How often a crop is drawn at most; the last one is taken."""
    flip_probability: Probability = 0.5
    """Probability that a crop is mirrored, left and right. Training only."""
    photometric: PhotometricConfig = field(default_factory=PhotometricConfig)
    """Random changes of colours. Training only."""
    decoding: Decoding = Decoding.EXACT
    """EXACT decodes all of a photo's pixels, SCALED no more than its scale needs, which is faster."""

    def __post_init__(self):
        for name in ("scale_jitter", "aspect_jitter"):
            least, most = getattr(self, name)
            if least > most:
                raise UserError(f"data.{name} is {least, most}; give the least factor before the greatest")
        if self.fit[0] < self.fit[1]:
            raise UserError(f"data.fit is {self.fit}; give the longest side before the shortest")

    def fit_size(self, photo: tuple[int, int]) -> tuple[float, float]:
        """Return the (height, width) that a `photo` of (height, width) has before it is jittered."""
        longest, shortest = max(photo), min(photo)
        scale = min(self.fit[0] / longest, self.fit[1] / shortest)
        return photo[0] * scale, photo[1] * scale


class SegmentExamples:
    """Decodes a record, and cuts a crop of its photo and of its classes; an `ExampleMaker`.

    `image_size` is the crop's (height, width), `classes` how many the model has. Without `augment` the whole photo is
    scaled to fit it.
    """

    def __init__(self, config: SegmentDataConfig, *, image_size: tuple[int, int], classes: int, augment: bool = True):
        self._config, self._frame, self._classes, self._augment = config, image_size, classes, augment

    @property
    def schema(self) -> Schema:
        """Photos with segments, or with masks."""
        return masks.SCHEMA if self._config.of_masks else records.SCHEMA

    @property
    def batch(self) -> Callable[..., Any]:
        """`SegmentBatch`."""
        return SegmentBatch

    def row(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of one photo's row of a `SegmentBatch`."""
        return {
            "image": jax.ShapeDtypeStruct((*self._frame, 3), jnp.uint8),
            "valid_size": jax.ShapeDtypeStruct((2,), jnp.int32),
            "labels": jax.ShapeDtypeStruct(self._frame, jnp.int16),
        }

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
        view, colours = WHOLE.draw(rng, photo=classes.shape, frame=self._frame), None
        if self._augment:
            view = self._draw(rng, classes)
            colours = self._config.photometric.draw(rng)
        arrays = {
            "image": frame_photo(
                record.jpeg, view=view, frame=self._frame, decoding=self._config.decoding, colours=colours
            ),
            "valid_size": np.array(view.window, np.int32),
            "labels": view_labels(classes, view, self._frame),
        }
        return Example(arrays=arrays, record_id=record.image_id, counts=counts)

    def _draw(self, rng: np.random.Generator, classes: Int16[np.ndarray, "h w"]) -> View:
        """Return a view at a random scale whose window is of several classes, if one is found."""
        config, photo = self._config, (classes.shape[0], classes.shape[1])
        factor, aspect = float(rng.uniform(*config.scale_jitter)), float(rng.uniform(*config.aspect_jitter))
        height, width = config.fit_size(photo)
        scaled = max(1, round(height * factor)), max(1, round(width * factor * aspect))
        window = min(scaled[0], self._frame[0]), min(scaled[1], self._frame[1])
        flip = bool(rng.random() < config.flip_probability)
        view = View(photo=photo, scaled_size=scaled, corner=(0, 0), window=window, flip=flip)
        for _ in range(config.crop_tries):
            corner = tuple(int(rng.integers(one - part + 1)) for one, part in zip(scaled, window, strict=True))
            view = dataclasses.replace(view, corner=corner)
            labels = _sample(classes, view)
            counts = np.bincount(labels[labels >= 0].ravel())
            if len(counts) and counts.max() <= config.most_of_class * counts.sum():
                break
        return view


def object_classes(record: masks.Record) -> Int16[np.ndarray, "h w"]:
    """Return 1 where a mask of the record is, 0 elsewhere.

    Raises:
      RleError: a mask is damaged.
    """
    found = np.zeros((record.height, record.width), np.int16)
    for one in record.annotations:
        found[rle.decode(one.counts, height=record.height, width=record.width)] = 1
    return found


def view_labels(classes: Int16[np.ndarray, "h w"], view: View, frame: tuple[int, int]) -> Int16[np.ndarray, "fh fw"]:
    """Return a view of the classes at the top left of `frame`, each pixel the nearest of the photo; -1 around."""
    labels = np.full(frame, records.UNLABELLED, np.int16)
    height, width = view.window
    labels[:height, :width] = _sample(classes, view)[:: -1 if view.upside_down else 1, :: -1 if view.flip else 1]
    return labels


def _sample(classes: Int16[np.ndarray, "h w"], view: View) -> Int16[np.ndarray, "vh vw"]:
    """Return the classes in a view's window, not mirrored."""
    rows, columns = (
        nearest_positions(source=source, target=target)[start : start + length]
        for source, target, start, length in zip(view.photo, view.scaled_size, view.corner, view.window, strict=True)
    )
    return classes[rows[:, None], columns]
