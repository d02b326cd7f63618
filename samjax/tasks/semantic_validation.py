"""How well a dense prediction model classifies the pixels of held-out photos, and pictures of it."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int, UInt8

from samjax.core.batches import SegmentBatch, counted_pixels
from samjax.core.struct import struct
from samjax.data.stream.example import NO_RECORD
from samjax.losses.pixel_cross_entropy import pixel_losses
from samjax.models.dense_prediction.dense_model import DenseModel
from samjax.pictures.canvas import Cell, Grid
from samjax.pictures.class_map import class_colours, overlay_classes
from samjax.scores.confusion import SemanticScores, confusion
from samjax.training.validation import Better

FIGURES: Mapping[str, Better] = {"miou": Better.HIGHER, "pixel_accuracy": Better.HIGHER, "loss": Better.LOWER}
"""What a validation reports: at the model's frame, of whole photos. `samjax evaluate semantic` counts at the photos'
own resolution."""
_SIDE = 224
_HEADINGS = ("photo", "truth", "prediction")


@struct
class ClassifiedBatch:
    """What became of the pixels of a batch."""

    predicted: Int[Array, "b h w"]
    matrix: Int[Array, "classes classes"]
    """Pixels of each class [rows] predicted as each class [columns]."""
    loss: Float32[Array, ""]
    """The sum over the pixels that count."""


class SemanticValidator:
    """Classifies the same held-out photos each time it is called.

    `merge` makes a model of parameters and buffers; `batches` are read anew for each validation. What is counted and
    drawn is laid out as `replicated` says, so that every process returns the same row and pictures.
    """

    def __init__(
        self,
        merge: Callable[[Any, Any], DenseModel],
        *,
        classes: int,
        batches: Callable[[], Any],
        sheet_rows: int,
        replicated: jax.sharding.Sharding,
    ):
        self._batches, self._sheet_rows, self._colours = batches, sheet_rows, class_colours([None] * classes)
        self._classes = classes

        def classify(params: Any, buffers: Any, batch: SegmentBatch) -> tuple[ClassifiedBatch, SegmentBatch]:
            logits = merge(params, buffers).logits(batch.image, batch.valid_size)
            counted, predicted = counted_pixels(batch), jnp.argmax(logits, axis=-1)
            pairs = jnp.where(counted, batch.labels.astype(jnp.int32) * classes + predicted, classes * classes)
            matrix = jnp.bincount(pairs.ravel(), length=classes * classes + 1)[:-1].reshape(classes, classes)
            loss = pixel_losses(logits, batch.labels, counted).sum()
            return ClassifiedBatch(predicted=predicted, matrix=matrix, loss=loss), batch

        self._classify = jax.jit(classify, out_shardings=replicated)

    def __call__(self, state: Any, step: int) -> tuple[dict[str, float | int], dict[str, np.ndarray]]:
        """Return the row of metrics and the picture sheet; `state` has `params` and `buffers`."""
        del step
        matrix, loss, photos, rows = np.zeros((self._classes, self._classes), np.int64), 0.0, 0, []
        for batch in self._batches():
            found, batch = self._classify(state.params, state.buffers, batch)
            matrix += np.asarray(found.matrix)
            loss += float(found.loss)
            valid = np.asarray(batch.record_id) != NO_RECORD
            photos += int(valid.sum())
            drawn = np.flatnonzero(valid)[: self._sheet_rows - len(rows)]
            rows += [self._row(batch, found, b) for b in drawn.tolist()]
        scores = SemanticScores(matrix=matrix)
        sheet = {"val_classes": Grid(rows=rows, side=_SIDE, headings=_HEADINGS).draw()} if rows else {}
        metrics = {"miou": scores.miou, "pixel_accuracy": scores.pixel_accuracy}
        return {**metrics, "loss": loss / max(1, int(matrix.sum())), "photos": photos}, sheet

    def _row(self, batch: SegmentBatch, found: ClassifiedBatch, b: int) -> list[Cell]:
        height, width = np.asarray(batch.valid_size[b]).tolist()
        photo: UInt8[np.ndarray, "h w 3"] = np.asarray(batch.image[b])[:height, :width]
        truth, predicted = (np.asarray(one[b])[:height, :width] for one in (batch.labels, found.predicted))
        own = confusion(truth, predicted, classes=self._classes)
        return [
            Cell(picture=photo),
            Cell(picture=overlay_classes(photo, truth, self._colours)),
            Cell(
                picture=overlay_classes(photo, predicted, self._colours),
                caption=f"pixels right {SemanticScores(matrix=own).pixel_accuracy:.2f}",
            ),
        ]
