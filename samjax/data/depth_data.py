"""Photos with the depth of their pixels: the examples made of them."""

from collections.abc import Callable
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from samjax.core.batches import DepthBatch
from samjax.core.ranges import Pixels, config_class
from samjax.data.crop_data import CropDataConfig, Factor, frame_map, window_of
from samjax.data.crop_examples import CropExamples
from samjax.data.records import depths as records
from samjax.data.records.schema import Schema
from samjax.data.segments.photometric import PhotometricConfig
from samjax.data.stream.example import Example, UnusableRecordError


@config_class("data")
class DepthDataConfig(CropDataConfig):
    """Photos with depth, prepared by `samjax data prepare --format depth`.

    The defaults are DPT's: the longer side is scaled to 384 pixels, and a crop as large as the model's frame is cut,
    mirrored half of the time. Where the photo is smaller, the rest of the frame is padding that counts for nothing. A
    crop without a known pixel is drawn again, up to `crop_tries` times. Validation sees whole photos, scaled to fit the
    frame.
    """

    fit: tuple[Pixels, Pixels] = (384, 384)
    """Longest and shortest side that the whole photo is scaled to fit, before `scale_jitter`: (640, 384) lets the
    shorter side fill a frame of 384 pixels, as prediction does. Training only."""
    scale_jitter: tuple[Factor, Factor] = (1.0, 1.0)
    """Smallest and largest random factor of the fitted photo's size, drawn uniformly. Training only."""
    photometric: PhotometricConfig = field(default_factory=lambda: PhotometricConfig(probability=0.0))
    """Random changes of colours; off. Training only."""


class DepthExamples(CropExamples[DepthDataConfig]):
    """Decodes a record, and cuts a crop of its photo and of its inverse depth; an `ExampleMaker`."""

    @property
    def schema(self) -> Schema:
        """Photos with depth."""
        return records.SCHEMA

    @property
    def batch(self) -> Callable[..., Any]:
        """`DepthBatch`."""
        return DepthBatch

    def row(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of one photo's row of a `DepthBatch`."""
        return {**self.photo_row(), "inverse_depth": jax.ShapeDtypeStruct(self.frame, jnp.float32)}

    def example(self, record: records.Record, rng: np.random.Generator) -> Example:
        """Return a crop of a photo and of its inverse depth, each pixel the nearest of the photo's.

        Raises:
          UnusableRecordError: no pixel of the photo has a known depth.
          RecordError: or PhotoError: the record is corrupt.
        """
        inverse = record.inverse()
        counts = {"without_depth": int(not inverse.any())}
        if counts["without_depth"]:
            raise UnusableRecordError("no pixel has a known depth", counts)
        view, arrays = self.crop(record, rng, is_good=lambda view: bool(window_of(inverse, view).any()))
        arrays["inverse_depth"] = frame_map(inverse, view, self.frame, around=records.UNKNOWN)
        return Example(arrays=arrays, record_id=record.image_id, counts=counts)
