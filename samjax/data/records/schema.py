"""What every schema of records shares: a record is a serialised `tf.train.Example`, which TFDS writes and reads without
TensorFlow, and a photo in it stays encoded.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from samjax.data.masks.rle import MAX_PIXELS


class RecordError(ValueError):
    """A record that does not follow its schema, or contradicts itself; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """A kind of record. Decoded records have an `image_id` below 2^31."""

    name: str
    """In words, for errors."""
    features: Callable[[], Any]
    """Returns the TFDS FeaturesDict, which a prepared folder must have too."""
    decode: Callable[[bytes], Any]
    """Returns the record in the bytes of one ArrayRecord record; raises RecordError."""
    parts: tuple["Schema", ...] = ()
    """Other schemas whose `decode` also reads these records."""


def image_features() -> dict[str, Any]:
    """Return the features of a photo, the part `image` of every schema, as TFDS's `segment_anything` names them."""
    import tensorflow_datasets as tfds  # where a record is read or written: processes that do neither go without

    return {
        "content": tfds.features.Image(),
        "file_name": np.str_,
        "height": np.uint64,
        "image_id": np.uint64,
        "width": np.uint64,
    }


@functools.cache
def skip_photo_decoding() -> dict[str, Any]:
    """Return TFDS decoders that leave the photo encoded."""
    import tensorflow_datasets as tfds

    return {"image": {"content": tfds.decode.SkipDecoding()}}


def encode_example(features: Any, example: dict[str, Any]) -> bytes:
    """Return `example`, which TFDS's `features` describe, as the bytes of one record, the same in every process."""
    from tensorflow_datasets.proto import tf_example_pb2

    proto: Any = tf_example_pb2
    encoded = proto.Example.FromString(features.serialize_example(example))
    return encoded.SerializeToString(deterministic=True)  # else a proto's map is written in the order of its hashes


def photo_fields(image: Any) -> dict[str, Any]:
    """Return the fields of a decoded `image`, checked, by the names that every `Record` gives them.

    Raises:
      RecordError: a size that no photo has, or an id above 31 bits.
    """
    height, width, image_id = int(image["height"]), int(image["width"]), int(image["image_id"])
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise RecordError(f"photo size {height} x {width} is not between 1 and {MAX_PIXELS:,} pixels")
    if not 0 <= image_id < 2**31:
        raise RecordError(f"image id {image_id} does not fit in 31 bits")
    # The name opens no file here: no record is lost for it.
    file_name = text(image["file_name"], errors="backslashreplace")
    return {
        "image_id": image_id,
        "file_name": file_name,
        "height": height,
        "width": width,
        "jpeg": bytes(image["content"]),
    }


def not_of_schema(error: Exception, *, name: str) -> RecordError:
    """Return the error for bytes that are no record of schema `name`; protobuf, NumPy and TFDS each raise theirs."""
    detail = (str(error).strip() or type(error).__name__).splitlines()[0]
    return RecordError(f"not a record of the {name} schema: {detail[:200]}")


def text(value: str | bytes, *, errors: str = "strict") -> str:
    """Return text as TFDS decodes it, bytes or not."""
    return value.decode(errors=errors) if isinstance(value, bytes) else str(value)
