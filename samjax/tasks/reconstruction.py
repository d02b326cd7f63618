"""How well a masked autoencoder fills in held-out photos, and pictures of it."""

from collections.abc import Callable, Mapping
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, UInt8

from samjax.core.batches import PhotoBatch
from samjax.core.struct import struct
from samjax.data.stream.example import NO_RECORD
from samjax.models.mae import Mae, MaeConfig
from samjax.nn.pixels import PIXEL_MEAN, PIXEL_STD
from samjax.pictures.canvas import Cell, Grid
from samjax.training.validation import Better

FIGURES: Mapping[str, Better] = {"loss": Better.LOWER}
"""What a validation reports."""
_HIDDEN = 0.5
"""Brightness of a hidden patch in a picture, between black and white."""
_SIDE = 224
_HEADINGS = ("photo", "what is shown", "reconstruction", "with what is shown")


@struct
class Completion:
    """What became of each photo of a batch."""

    error: Float32[Array, "b"]
    """Mean squared error over its hidden patches."""
    visible: UInt8[Array, "b h w 3"]
    """The photo with its hidden patches grey."""
    reconstruction: UInt8[Array, "b h w 3"]
    """Every patch as predicted."""
    completed_photo: UInt8[Array, "b h w 3"]
    """Hidden patches as predicted, the others as they are."""


def fill_in(model: Mae, batch: PhotoBatch, config: MaeConfig, noise: Float[Array, "b n"]) -> Completion:
    """Hide the patches that `noise` selects, predict them, and paint the predictions, see `Mae.predicted_patches`."""
    output, targets = model(batch.image, noise), model.targets(batch.image)
    error = jax.vmap(lambda *photo: model.loss(*(part[None] for part in photo)))(
        output.predictions, targets, output.hidden
    )
    photo, predicted = model.patches(batch.image), model.predicted_patches(output.predictions, batch.image)
    hidden = output.hidden[..., None]
    grey = (_HIDDEN * 255 - jnp.array(PIXEL_MEAN)) / jnp.array(PIXEL_STD)
    grey = jnp.tile(grey, photo.shape[-1] // 3)
    paint = lambda patches: _photo(patches, config)  # noqa: E731
    return Completion(
        error=error,
        visible=paint(jnp.where(hidden, grey, photo)),
        reconstruction=paint(predicted),
        completed_photo=paint(jnp.where(hidden, predicted, photo)),
    )


def _photo(patches: Float[Array, "b n pixels"], config: MaeConfig) -> UInt8[Array, "b h w 3"]:
    patch, grid = config.encoder.patch, config.grid
    image = einops.rearrange(patches, "b (h w) (p q c) -> b (h p) (w q) c", h=grid[0], p=patch, q=patch)
    return jnp.clip(jnp.round(image * jnp.array(PIXEL_STD) + jnp.array(PIXEL_MEAN)), 0, 255).astype(jnp.uint8)


class ReconstructionValidator:
    """Fills in the same hidden patches of the same held-out photos each time it is called.

    `merge` makes a model of parameters and buffers; `batches` are read anew for each validation. What is counted and
    drawn is laid out as `replicated` says, so that every process returns the same row and pictures.
    """

    def __init__(
        self,
        merge: Callable[[Any, Any], Mae],
        config: MaeConfig,
        *,
        batches: Callable[[], Any],
        sheet_rows: int,
        replicated: jax.sharding.Sharding,
    ):
        self._batches, self._sheet_rows = batches, sheet_rows

        def fill(params: Any, buffers: Any, batch: PhotoBatch, number: Int[Array, ""]) -> tuple[Completion, PhotoBatch]:
            key = jax.random.fold_in(jax.random.key(0), number)
            noise = jax.random.uniform(key, (batch.image.shape[0], config.tokens))
            return fill_in(merge(params, buffers), batch, config, noise), batch

        self._fill = jax.jit(fill, out_shardings=replicated)

    def __call__(self, state: Any, step: int) -> tuple[dict[str, float | int], dict[str, np.ndarray]]:
        """Return the row of metrics and the picture sheet; `state` has `params` and `buffers`."""
        del step
        total, photos, rows = 0.0, 0, []
        for number, batch in enumerate(self._batches()):
            filled, batch = self._fill(state.params, state.buffers, batch, jnp.int32(number))
            valid: Bool[np.ndarray, "b"] = np.asarray(batch.record_id) != NO_RECORD
            error = np.asarray(filled.error)
            total += float(error[valid].sum())
            photos += int(valid.sum())
            for b in np.flatnonzero(valid)[: self._sheet_rows - len(rows)]:
                pictures = (batch.image, filled.visible, filled.reconstruction, filled.completed_photo)
                captions = ("", "", f"loss {error[b]:.3f}", "")
                rows.append(
                    [
                        Cell(picture=np.asarray(picture[b]), caption=caption)
                        for picture, caption in zip(pictures, captions, strict=True)
                    ]
                )
        sheet = {"val_reconstruction": Grid(rows=rows, side=_SIDE, headings=_HEADINGS).draw()} if rows else {}
        return {"loss": total / max(1, photos), "photos": photos}, sheet
