"""The photos of data sets, whole in the model's frame: what an encoder sees of them, and their keys in a cache."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np

from samjax.data.embedding_cache import photo_key
from samjax.data.frame import Decoding, frame_photo
from samjax.data.records import photos as records
from samjax.data.records.schema import Schema
from samjax.data.stream.assembly import refuse_machine_fault
from samjax.data.stream.example import DroppedRecord, Example
from samjax.data.stream.mixture import Mixture
from samjax.data.view import WHOLE


class PhotoFrames:
    """Makes photos' keys of records, and with `pixels` also what an encoder sees; an `ExampleMaker` of batches that are
    dictionaries."""

    def __init__(self, *, frame: tuple[int, int], decoding: Decoding, pixels: bool):
        self._frame, self._decoding, self._pixels = frame, decoding, pixels

    @property
    def schema(self) -> Schema:
        """Photos, or what holds photos."""
        return records.SCHEMA

    @property
    def batch(self) -> Callable[..., dict[str, Any]]:
        """A dictionary."""
        return dict

    def row(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Return the shapes of one photo's row."""
        return {
            "key": jax.ShapeDtypeStruct((32,), jnp.uint8),
            "image": jax.ShapeDtypeStruct((*self._frame, 3), jnp.uint8),
            "valid_size": jax.ShapeDtypeStruct((2,), jnp.int32),
        }

    def example(self, record: records.Record, rng: np.random.Generator) -> Example:
        """Return a photo's key, and with `pixels` its frame.

        Raises:
          PhotoError: the record is corrupt; without `pixels` that is not noticed.
        """
        arrays: dict[str, np.ndarray] = {"key": np.frombuffer(photo_key(record, self._decoding), np.uint8)}
        if self._pixels:
            view = WHOLE.draw(rng, photo=(record.height, record.width), frame=self._frame)
            arrays["image"] = frame_photo(record.jpeg, view=view, frame=self._frame, decoding=self._decoding)
            arrays["valid_size"] = np.array(view.window, np.int32)
        return Example(arrays=arrays, record_id=record.image_id, counts={})


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotoSet:
    """The first photos of some records, and how they are decoded."""

    mixture: Mixture
    decoding: Decoding
    limit: int | None = None

    def __len__(self) -> int:
        return len(self.mixture) if self.limit is None else min(self.limit, len(self.mixture))


class _Places(grain.transforms.DatasetSelectionMap):
    """Places in several data sets, as (data set, place) each."""

    def __init__(self, places: Sequence[tuple[int, int]]):
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[int, int]:
        return self._places[index]


def all_places(sets: Sequence[PhotoSet]) -> list[tuple[int, int]]:
    """Return the (set, place in it) of every photo."""
    return [(number, place) for number, one in enumerate(sets) for place in range(len(one))]


def read_photos(
    sets: Sequence[PhotoSet],
    places: Sequence[tuple[int, int]],
    *,
    frame: tuple[int, int],
    pixels: bool,
    threads: int,
) -> Iterator[Example | DroppedRecord]:
    """Yield what `PhotoFrames` makes of the photos at these (set, place in it), read and decoded ahead in threads.

    Raises:
      MachineError: the machine fails to read one.
    """
    if not places:
        return
    datasets = [one.mixture.in_order(PhotoFrames(frame=frame, decoding=one.decoding, pixels=pixels)) for one in sets]
    chosen = grain.MapDataset.select_from_datasets(datasets, _Places(places))
    elements = iter(chosen.to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)))
    try:
        for element in elements:
            refuse_machine_fault(element)
            yield element
    finally:
        elements.close()
