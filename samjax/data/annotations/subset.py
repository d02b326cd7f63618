"""Large data sets are cut to some of their photos, the same everywhere."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar, runtime_checkable

from samjax.core.text import printable
from samjax.data.annotations.dataset import Dataset

SEED = 0
MOST = 15_000
"""A named data set with more masks than this is cut (Segment Anything, section D.1)."""
ENOUGH = 10_000
"""Masks that are then drawn, or a few more: photos are whole."""


@runtime_checkable
class HasName(Protocol):
    """A photo, read or not."""

    @property
    def id(self) -> int:
        """Of the photo, unique in its data set."""
        ...

    @property
    def name(self) -> str:
        """Decides its turn."""
        ...


T = TypeVar("T", bound=HasName)


def draw_order(photos: Iterable[T], *, seed: int = SEED) -> list[T]:
    """Return the photos in the order that they are drawn in.

    A photo's turn depends on `seed` and its name alone: not on the order of files, nor on which others are there.
    """
    return sorted(photos, key=lambda photo: (_turn(photo.name, seed), photo.id))


def draw(photos: Sequence[T], *, masks: Callable[[T], int], enough: int, seed: int = SEED) -> list[T]:
    """Return photos, in their order, drawn until they have `enough` masks, of which `masks` says a photo's number."""
    drawn, count = set(), 0
    for photo in draw_order(photos, seed=seed):
        if count >= enough:
            break
        drawn.add(photo.id)
        count += masks(photo)
    return [photo for photo in photos if photo.id in drawn]


def sample(dataset: Dataset, *, most: int = MOST, enough: int = ENOUGH, seed: int = SEED) -> Dataset:
    """Return `dataset`, or, if it has more than `most` masks, photos of it drawn until they have `enough`.

    Crowds do not count. Photos stay in the order of their ids.
    """
    if dataset.masks <= most:
        return dataset
    photos = draw(dataset.photos, masks=lambda photo: len(photo.objects), enough=enough, seed=seed)
    return replace(dataset, photos=photos)


def _turn(name: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{printable(name)}".encode()).digest()
