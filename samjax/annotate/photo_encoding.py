"""From a photo's JPEG to its embedding, one photo or all of them before anybody clicks."""

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from samjax.annotate.embedding_store import EmbeddingStore
from samjax.core.errors import UserError
from samjax.data.photo import read_photo
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_input import fit_photo


@runtime_checkable
class SizedPhoto(Protocol):
    """A photo of a list, in pixels of its JPEG."""

    @property
    def height(self) -> int:
        """Rows."""
        ...

    @property
    def width(self) -> int:
        """Columns."""
        ...


@runtime_checkable
class PhotoSource(Protocol):
    """Photos by id."""

    def __getitem__(self, photo_id: int, /) -> SizedPhoto:
        """Return what is known of a photo."""
        ...

    def jpeg(self, photo_id: int, /) -> bytes:
        """Return its upright JPEG."""
        ...


FramedPhoto = tuple[UInt8[np.ndarray, "frame_h frame_w 3"], tuple[int, int]]
"""A photo in the model's frame, and its size there."""


@dataclass(frozen=True, kw_only=True)
class EncodingReport:
    """What `encode_all` has done so far."""

    photos: int
    """In the list."""
    existing: int
    """Had an embedding before."""
    new: int
    failures: tuple[str, ...]
    """A sentence for each photo that cannot be encoded."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.existing + self.new + len(self.failures) == self.photos


def in_frame(jpeg: bytes, frame: tuple[int, int]) -> FramedPhoto:
    """Return a photo as `encode_frames` takes it; needs no accelerator.

    Raises:
      UserError: it cannot be decoded.
    """
    return fit_photo(read_photo(jpeg), frame)


def encode_frames(engine: Engine, photos: Sequence[FramedPhoto]) -> Float32[np.ndarray, "n gh gw c"]:
    """Encode at most as many photos as the engine has ways to split them."""
    frames = np.zeros((engine.ways, *engine.config.image_size, 3), np.uint8)
    sizes = np.ones((engine.ways, 2), np.int32)
    for index, (frame, size) in enumerate(photos):
        frames[index], sizes[index] = frame, size
    return np.asarray(engine.encode(frames, sizes))[: len(photos)]


def encode_jpeg(engine: Engine, jpeg: bytes) -> Float32[np.ndarray, "gh gw c"]:
    """Return a photo's embedding, as `Predictor.set_image` computes it.

    Raises:
      UserError: it cannot be decoded.
    """
    return encode_frames(engine, [in_frame(jpeg, engine.config.image_size)])[0]


def encode_all(
    engine: Engine,
    photos: PhotoSource,
    ids: Iterable[int],
    store: EmbeddingStore,
    *,
    report: Callable[[EncodingReport], None] = lambda _: None,
) -> EncodingReport:
    """Encode all photos that have no embedding yet, a photo on each of the engine's devices at a time.

    Photos are read and decoded on all cores beside it. `report` is called after each batch. An interrupted call goes on
    where it was when it is made again.

    Raises:
      UserError: the store has no room for the embeddings of all photos, or cannot be written to.
    """
    ids = list(ids)
    if len(ids) > store.capacity:
        needed = len(ids) * store.bytes_per_photo / 1e9
        raise UserError(
            f"the embeddings of {len(ids):,} photos take {needed:,.1f} GB, and the cache is bounded at "
            f"{store.config.gigabytes:,g}: the first would be deleted before the last is made; give it more"
        )
    existing, new, failures = 0, 0, []

    def progress() -> EncodingReport:
        return EncodingReport(photos=len(ids), existing=existing, new=new, failures=tuple(failures))

    def read(photo_id: int) -> tuple[bytes, FramedPhoto | None] | str:
        try:
            jpeg = photos.jpeg(photo_id)
            key = store.key(jpeg)
            return key, None if store.holds(key) else in_frame(jpeg, engine.config.image_size)
        except UserError as error:
            return f"photo {photo_id}: {error}"

    batch: list[tuple[bytes, FramedPhoto]] = []

    def flush() -> None:
        nonlocal new
        for (key, _), embedding in zip(batch, encode_frames(engine, [framed for _, framed in batch]), strict=True):
            store.write(key, embedding)
            new += 1
        batch.clear()
        report(progress())

    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        for found in _ahead(pool, read, ids, ahead=2 * max(cores, engine.ways)):
            if isinstance(found, str):
                failures.append(found)
            elif found[1] is None:
                existing += 1
            else:
                batch.append((found[0], found[1]))
            if len(batch) == engine.ways:
                flush()
        if batch:
            flush()
    report(progress())
    return progress()


def _ahead(pool: ThreadPoolExecutor, function: Callable, items: Iterable, *, ahead: int) -> Iterator:
    """Yield `function` of each item in order, computed by `pool`, at most `ahead` items before they are wanted."""
    items = iter(items)
    futures = [pool.submit(function, item) for item in itertools.islice(items, ahead)]
    while futures:
        yield futures.pop(0).result()
        futures += [pool.submit(function, item) for item in itertools.islice(items, 1)]
