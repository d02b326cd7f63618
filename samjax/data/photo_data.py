"""Photos alone, for training that needs no masks: how crops of them are drawn, and the examples made."""

from collections.abc import Callable
from dataclasses import field
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from samjax.core.batches import PhotoBatch
from samjax.core.ranges import Range, config_class
from samjax.data.crop import CropRules, central_crop, random_crop
from samjax.data.frame import Decoding
from samjax.data.records import photos as records
from samjax.data.records.schema import Schema
from samjax.data.stream.data_config import DataConfig
from samjax.data.stream.example import Example


@config_class("data")
class PhotoDataConfig(DataConfig):
    """Photos without masks; of records with masks, as SA-1B's, the photos alone are read. On the command line
    `source` may also be a folder of photos, a glob, or tars of them."""

    crop: CropRules = field(default_factory=CropRules)
    """How crops are drawn. Validation sees the middle of each photo."""
    middle: Annotated[float, Range(above=0, at_most=1, why="it is a share of the shorter side")] = 224 / 256
    """How much of a photo's shorter side validation sees."""
    decoding: Decoding = Decoding.EXACT
    """EXACT decodes all of a photo's pixels, SCALED no more than the crop needs, which is faster."""


class PhotoExamples:
    """Decodes a record and cuts a crop of its photo; an `ExampleMaker`.

    `image_size` is the crop's (height, width). Without `augment` it is the middle of the photo, as for validation.
    """

    def __init__(self, config: PhotoDataConfig, *, image_size: tuple[int, int], augment: bool = True):
        self._config = config
        self._size = image_size
        self._augment = augment

    @property
    def schema(self) -> Schema:
        """Photos, or what holds photos."""
        return records.SCHEMA

    @property
    def batch(self) -> Callable[..., Any]:
        """`PhotoBatch`."""
        return PhotoBatch

    def row(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of one photo's row of a `PhotoBatch`."""
        return {"image": jax.ShapeDtypeStruct((*self._size, 3), jnp.uint8)}

    def example(self, record: records.Record, rng: np.random.Generator) -> Example:
        """Return a crop of a photo.

        Raises:
          PhotoError: the record is corrupt.
        """
        photo, config = (record.height, record.width), self._config
        if self._augment:
            image = random_crop(
                record.jpeg, rng, photo=photo, size=self._size, rules=config.crop, decoding=config.decoding
            )
        else:
            image = central_crop(
                record.jpeg, photo=photo, size=self._size, share=config.middle, decoding=config.decoding
            )
        return Example(arrays={"image": image}, record_id=record.image_id, counts={})
