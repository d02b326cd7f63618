"""How well a model for depth orders the pixels of held-out photos, and pictures of it."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Int, UInt8

from samjax.core.batches import DepthBatch, known_pixels
from samjax.core.errors import UserError
from samjax.core.struct import struct
from samjax.data.records.depths import inverse_depths
from samjax.data.stream.example import NO_RECORD
from samjax.losses.inverse_depth import DepthLossConfig, depth_loss
from samjax.models.dense_prediction.dense_model import DenseModel
from samjax.pictures.canvas import Cell, Grid
from samjax.pictures.depth_picture import bounds_of, paint_depth
from samjax.scores.depth_errors import DepthErrors, DepthProtocol, aligned_depth, depth_errors, mean_errors
from samjax.training.validation import Better

FIGURES: Mapping[str, Better] = {
    "abs_rel": Better.LOWER,
    "delta1": Better.HIGHER,
    "rmse": Better.LOWER,
    "loss": Better.LOWER,
}
"""What a validation reports: at the model's frame, of whole photos, each aligned to its truth by scale and shift.
`samjax evaluate depth` scores at the photos' own resolution."""
_SIDE = 224
_HEADINGS = ("photo", "truth", "prediction")


@struct
class PredictedDepth:
    """What a model says of a batch."""

    inverse: Float32[Array, "b h w"]
    loss: Float32[Array, ""]
    """The mean over the photos with a known pixel."""
    photos: Int[Array, ""]
    """How many those are."""


class DepthValidator:
    """Predicts the depth of the same held-out photos each time it is called.

    `merge` makes a model of parameters and buffers; `batches` are read anew for each validation. Predictions are laid
    out as `replicated` says, so that every process returns the same row and pictures.
    """

    def __init__(
        self,
        merge: Callable[[Any, Any], DenseModel],
        *,
        protocol: DepthProtocol,
        loss: DepthLossConfig,
        batches: Callable[[], Any],
        sheet_rows: int,
        replicated: jax.sharding.Sharding,
    ):
        self._batches, self._sheet_rows, self._protocol = batches, sheet_rows, protocol

        def predict(params: Any, buffers: Any, batch: DepthBatch) -> tuple[PredictedDepth, DepthBatch]:
            inverse = merge(params, buffers).logits(batch.image, batch.valid_size)[..., 0]
            known = known_pixels(batch)
            mean, _ = depth_loss(inverse, batch.inverse_depth, known, loss)
            return PredictedDepth(inverse=inverse, loss=mean, photos=jnp.sum(known.any(axis=(1, 2)))), batch

        self._predict = jax.jit(predict, out_shardings=replicated)

    def __call__(self, state: Any, step: int) -> tuple[dict[str, float | int], dict[str, np.ndarray]]:
        """Return the row of metrics and the picture sheet; `state` has `params` and `buffers`.

        Raises:
          UserError: no pixel can be scored.
        """
        del step
        errors: list[DepthErrors | None] = []
        loss, photos, rows = 0.0, 0, []
        for batch in self._batches():
            found, batch = self._predict(state.params, state.buffers, batch)
            loss += float(found.loss) * int(found.photos)
            photos += int(found.photos)
            for b in np.flatnonzero(np.asarray(batch.record_id) != NO_RECORD).tolist():
                photo, inverse, truth = _arrays(batch, found, b)
                depth = aligned_depth(inverse, truth, self._protocol)
                errors.append(depth_errors(depth, truth, self._protocol))
                if len(rows) < self._sheet_rows:
                    rows.append(_row(photo, depth, truth, errors[-1]))
        try:
            mean = mean_errors(errors)
        except UserError as error:
            farthest = f"validation.farthest is {self._protocol.farthest:g} metres"
            raise UserError(f"validation.source: {error}; {farthest}") from error
        sheet = {"val_depth": Grid(rows=rows, side=_SIDE, headings=_HEADINGS).draw()} if rows else {}
        metrics = {"abs_rel": mean.abs_rel, "delta1": mean.delta1, "rmse": mean.rmse}
        return {**metrics, "loss": loss / max(1, photos), "photos": len(errors)}, sheet


def _arrays(
    batch: DepthBatch, found: PredictedDepth, b: int
) -> tuple[UInt8[np.ndarray, "h w 3"], Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Return a photo, its predicted inverse depth, and its depth in metres, without padding."""
    height, width = np.asarray(batch.valid_size[b]).tolist()
    image, inverse, truth = (
        np.asarray(one[b])[:height, :width] for one in (batch.image, found.inverse, batch.inverse_depth)
    )
    return image, inverse, inverse_depths(truth)


def _row(
    photo: UInt8[np.ndarray, "h w 3"],
    depth: np.ndarray,
    truth: Float32[np.ndarray, "h w"],
    errors: DepthErrors | None,
) -> list[Cell]:
    known, inverse = truth > 0, inverse_depths(truth)
    bounds = bounds_of(inverse, known)
    caption = "" if errors is None else f"AbsRel {errors.abs_rel:.3f}"
    return [
        Cell(picture=photo),
        Cell(picture=paint_depth(inverse, known=known)),
        Cell(picture=paint_depth(1 / depth, bounds=bounds), caption=caption),
    ]
