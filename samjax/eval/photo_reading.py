"""Photos read a few at a time, those that cannot be told or left out."""

from collections.abc import Iterator, Sequence

import numpy as np

from samjax.core.errors import UserError
from samjax.eval.datasets.dataset import Photo
from samjax.eval.evaluation_folder import EvaluationFolder

UNREADABLE = "photos that cannot be read"


def read_photos(
    photos: Sequence[Photo], folder: EvaluationFolder, *, allow_missing: bool
) -> Iterator[tuple[Photo, np.ndarray]]:
    """Yield the photos with their pixels; those that cannot be read are recorded as such, by id, if that is allowed.

    Raises:
      UserError: one cannot be read, and `allow_missing` is not given.
    """
    for photo in photos:
        try:
            yield photo, photo.read()
        except UserError as error:
            if not allow_missing:
                raise UserError(f"{error}. Mend it, or leave it out with --allow-missing") from error
            folder.record(str(photo.id), {"unreadable": str(error)})


def readable(photos: Sequence[Photo], folder: EvaluationFolder) -> list[Photo]:
    """Return the photos, all of them recorded, that could be read."""
    return [photo for photo in photos if "unreadable" not in folder[str(photo.id)]]
