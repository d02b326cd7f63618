"""Encodes and decodes records of photos with the depth of their pixels, where it is known.

A record has the photo, and a map as large as it: a PNG of the numbers that the data set's file has, so that nothing is
lost. Whole numbers are grey of 8 or 16 bits; float32 numbers are RGBA, a byte each channel, the lowest first. What the
numbers are, and how many of them make a metre, is beside it.
"""

import dataclasses
import enum
import functools
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped
from PIL import Image

from samjax.data.records import photos
from samjax.data.records.png_map import check_map, decode_map, encode_map, encode_png
from samjax.data.records.schema import (
    RecordError,
    Schema,
    encode_example,
    image_features,
    not_of_schema,
    photo_fields,
    skip_photo_decoding,
    text,
)

UNKNOWN = 0
"""The number of a pixel whose depth nobody knows."""
_NAME = "the depth map"
LEAST, MOST = 1e-7, 1e7
"""Bounds of what is known, in metres or their inverse, so that the inverse is a number too."""


class DepthKind(enum.Enum):
    """What the numbers of a depth map are."""

    METRES = "metres"
    """Distances from the camera's plane, in metres once divided by the map's scale."""
    INVERSE = "inverse"
    """Inverse distances, in 1 / metres once divided by the map's scale; or disparities, of which nobody knows one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(photos.Record):
    """One photo, still encoded, and the depth of its pixels."""

    png: bytes
    """The map of depths, as large as the photo, still encoded."""
    scale: float
    """What its numbers are divided by: 256 for KITTI, 1000 for NYU Depth v2 in millimetres."""
    kind: DepthKind

    def values(self) -> Float32[np.ndarray, "h w"]:
        """Return the depths, or inverse depths, by `kind`; 0 where they are unknown.

        Raises:
          RecordError: the map is damaged, of another size than the photo, or holds what is no depth.
        """
        numbers = decode_map(self.png, name=_NAME)
        if numbers.ndim == 3 and numbers.shape[2] == 4:
            numbers = np.ascontiguousarray(numbers).view("<f4")[..., 0]
        check_map(numbers, (self.height, self.width), name=_NAME)
        return scaled_depths(numbers, self.scale)

    def metres(self) -> Float32[np.ndarray, "h w"]:
        """Return the depths in metres, 0 where they are unknown; errors are those of `values`."""
        return self._as(DepthKind.METRES)

    def inverse(self) -> Float32[np.ndarray, "h w"]:
        """Return the inverse depths in 1 / metres, 0 where they are unknown; errors are those of `values`."""
        return self._as(DepthKind.INVERSE)

    def _as(self, kind: DepthKind) -> Float32[np.ndarray, "h w"]:
        values = self.values()
        return values if kind is self.kind else inverse_depths(values)


def inverse_depths(values: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Return the inverse of each number, 0 of 0."""
    return np.divide(1, values, out=np.zeros_like(values), where=values > 0)


def scaled_depths(numbers: Shaped[np.ndarray, "h w"], scale: float) -> Float32[np.ndarray, "h w"]:
    """Return the numbers of a map over its `scale`, checked.

    Raises:
      RecordError: there is NaN, infinity, a negative number, or one that is nobody's distance.
    """
    if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
        raise RecordError("the depth map holds NaN or infinity: write 0 where the depth is unknown")
    if numbers.min() < 0:
        raise RecordError(f"the depth map holds {numbers.min():.6g}: depths are above 0, and 0 where they are unknown")
    values = (numbers / np.float64(scale)).astype(np.float32)
    known = values[numbers > UNKNOWN]
    if known.size and not LEAST <= known.min() <= known.max() <= MOST:
        raise RecordError(
            f"the depth map holds {known.min():.6g} to {known.max():.6g} after division by its scale of {scale:g}, "
            f"expected {LEAST:g} to {MOST:g}: give another --depth-scale, or 0 where the depth is unknown"
        )
    return values


def encode_depths(numbers: Shaped[np.ndarray, "h w"]) -> bytes:
    """Return a map as a PNG: whole numbers of up to 16 bits as grey, all others as float32."""
    if numbers.dtype.kind in "iu" and numbers.max(initial=0) < 2**16:
        return encode_map(numbers)
    single = np.ascontiguousarray(numbers.astype("<f4"))
    return encode_png(Image.fromarray(single.view(np.uint8).reshape(*numbers.shape, 4), mode="RGBA"))


@functools.cache
def features() -> Any:
    """Return the schema, a TFDS FeaturesDict."""
    import tensorflow_datasets as tfds  # where a record is read or written: processes that do neither go without

    content = tfds.features.Tensor(shape=(), dtype=np.object_)  # no image of TFDS's: of two kinds of PNG
    depth = tfds.features.FeaturesDict({"content": content, "scale": np.float64, "kind": np.str_})
    return tfds.features.FeaturesDict({"image": tfds.features.FeaturesDict(image_features()), "depth": depth})


def encode_record(record: Record) -> bytes:
    """Return `record` as the bytes of one ArrayRecord record, the same in every process."""
    depth = {"content": record.png, "scale": record.scale, "kind": record.kind.value}
    return encode_example(features(), {**photos.to_example(record), "depth": depth})


def decode_record(data: bytes) -> Record:
    """Return the record in `data`, the bytes of one ArrayRecord record; its map is not decoded yet.

    Raises:
      RecordError: not a record of this schema, or one that contradicts itself.
    """
    try:
        example = features().deserialize_example_np(data, decoders=skip_photo_decoding())
        depth, scale = example["depth"], float(example["depth"]["scale"])
        kind = DepthKind(text(depth["kind"]))
        if not 0 < scale < np.inf:
            raise RecordError(f"the scale of its depth map is {scale}, expected a number above 0")
        return Record(**photo_fields(example["image"]), png=bytes(depth["content"]), scale=scale, kind=kind)
    except RecordError:
        raise
    except Exception as error:
        raise not_of_schema(error, name="depth") from error


SCHEMA = Schema(name="depth", features=features, decode=decode_record, parts=(photos.SCHEMA,))
