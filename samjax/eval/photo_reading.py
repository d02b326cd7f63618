"""Reads photos to evaluate on, and records those that cannot be read where that is allowed."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from samjax.core.errors import UserError
from samjax.data.annotations.dataset import Photo
from samjax.eval.evaluation_folder import EvaluationFolder

UNREADABLE = "photos that cannot be read"


def photo_key(photo: Photo) -> str:
    """Return the key of a photo's record, where there is one data set."""
    return str(photo.id)


def read_photos(
    photos: Sequence[Photo],
    folder: EvaluationFolder,
    *,
    allow_missing: bool,
    key: Callable[[Photo], str] = photo_key,
) -> Iterator[tuple[Photo, np.ndarray]]:
    """Yield the photos with their pixels; with `allow_missing`, those that cannot be read are recorded as such instead.

    Raises:
      UserError: one cannot be read, and `allow_missing` is not given.
    """
    for photo in photos:
        try:
            yield photo, photo.read()
        except UserError as error:
            if not allow_missing:
                raise UserError(f"{error}. Fix it, or skip it with --allow-missing") from error
            folder.record(key(photo), {"unreadable": str(error)})


def readable(photos: Sequence[Photo], folder: EvaluationFolder) -> list[Photo]:
    """Return the photos, all of them recorded, that could be read."""
    return [photo for photo in photos if "unreadable" not in folder[photo_key(photo)]]
