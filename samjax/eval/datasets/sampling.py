"""Large data sets are cut to some of their photos, the same everywhere."""

import hashlib
from dataclasses import replace

from samjax.eval.datasets.dataset import Dataset, Photo

SEED = 0
MOST = 15_000
"""A named data set with more masks than this is cut (Segment Anything, section D.1)."""
ENOUGH = 10_000
"""Masks that are then drawn, or a few more: photos are whole."""


def sample(dataset: Dataset, *, most: int = MOST, enough: int = ENOUGH, seed: int = SEED) -> Dataset:
    """Return `dataset`, or, if it has more than `most` masks, photos of it drawn until they have `enough`.

    A photo's turn depends on `seed` and its name alone: not on the order of files, nor on which others are there.
    Crowds do not count. Photos stay in the order of their ids.
    """
    if dataset.masks <= most:
        return dataset
    drawn, masks = set(), 0
    for photo in sorted(dataset.photos, key=lambda photo: (_turn(photo, seed), photo.id)):
        if masks >= enough:
            break
        drawn.add(photo.id)
        masks += len(photo.objects)
    return replace(dataset, photos=[photo for photo in dataset.photos if photo.id in drawn])


def _turn(photo: Photo, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{photo.name}".encode()).digest()
