"""What every record schema has: a name, its TFDS features and its bytes decoded."""

import dataclasses
from collections.abc import Callable
from typing import Any


class RecordError(ValueError):
    """A record that does not follow its schema, or contradicts itself; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Schema:
    """A kind of record. Decoded records have an `image_id` below 2^31."""

    name: str
    """In words, for errors: "TFDS's segment_anything"."""
    features: Callable[[], Any]
    """Returns the TFDS FeaturesDict, which a prepared folder must have too."""
    decode: Callable[[bytes], Any]
    """Returns the record in the bytes of one ArrayRecord record; raises RecordError."""
