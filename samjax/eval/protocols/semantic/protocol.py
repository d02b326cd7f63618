"""Classifies the pixels of photos, and counts what is what."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from samjax.core.errors import UserError
from samjax.eval.evaluation_folder import EvaluationFolder
from samjax.eval.protocols.semantic.classed_photos import OF_MASKS, ClassedPhotos, read_classes
from samjax.eval.record_photos import RecordPhoto
from samjax.predict.semantic.semantic_predictor import SemanticPredictor
from samjax.scores.confusion import confusion


@dataclass(frozen=True, kw_only=True)
class CountedPhoto:
    """A photo's own confusion matrix."""

    photo: RecordPhoto
    matrix: Int64[np.ndarray, "classes classes"]


def check_classes(data: ClassedPhotos, predictor: SemanticPredictor) -> None:
    """Refuse data of other classes than the model's.

    Raises:
      UserError: their numbers differ, or their names where both know them.
    """
    own = predictor.config.class_names
    if len(data.classes) != predictor.config.classes:
        raise UserError(f"the data has {len(data.classes)} classes, the model {predictor.config.classes}")
    if own and data.classes not in (own, OF_MASKS):
        place = next(i for i, (ours, theirs) in enumerate(zip(own, data.classes, strict=True)) if ours != theirs)
        raise UserError(
            f"class {place} is {data.classes[place]!r} in the data, and {own[place]!r} in the model: prepare the data "
            "with the model's table of classes"
        )


def count_photos(
    predictor: SemanticPredictor,
    data: ClassedPhotos,
    folder: EvaluationFolder,
    *,
    watch: Callable[[int], None],
) -> list[CountedPhoto]:
    """Classify the photos that the folder has no figures of, and return all photos' confusion matrices.

    Raises:
      UserError: a record is damaged.
    """
    todo = [photo for photo in data.photos if photo.key not in folder]
    watch(len(data.photos) - len(todo))
    for first in range(0, len(todo), predictor.ways):
        part = todo[first : first + predictor.ways]
        read = [read_classes(photo) for photo in part]
        found = predictor.predict_each([pixels for pixels, _ in read])
        for photo, (_, truth), predicted in zip(part, read, found, strict=True):
            folder.record(photo.key, _sparse(confusion(truth, predicted, classes=len(data.classes))))
            watch(1)
    return [CountedPhoto(photo=photo, matrix=_dense(folder[photo.key], len(data.classes))) for photo in data.photos]


def _sparse(matrix: Int64[np.ndarray, "classes classes"]) -> list[list[int]]:
    """Return [row, column, count] of what is not 0."""
    rows, columns = np.nonzero(matrix)
    return np.column_stack([rows, columns, matrix[rows, columns]]).tolist()


def _dense(entries: Sequence[Sequence[int]], classes: int) -> Int64[np.ndarray, "classes classes"]:
    matrix = np.zeros((classes, classes), np.int64)
    for row, column, count in entries:
        matrix[row, column] = count
    return matrix
