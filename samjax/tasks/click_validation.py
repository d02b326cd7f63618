"""mIoU after 1, 2, 3, ... clicks on held-out photos (Segment Anything, section 7.1, on the model's frame)."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float16, Float32

from samjax.core.batches import Batch, unpack_masks, valid_pixels
from samjax.core.prompts import MaskOutput, PointLabel, Prompts
from samjax.core.struct import struct
from samjax.losses.iou import mask_iou
from samjax.models.sam.sam import Sam, SamConfig
from samjax.pictures.click_sheet import SheetRow, draw_sheet
from samjax.prompting.error_region import predicted_mask, upscale
from samjax.prompting.evaluation_clicks import evaluate_clicks


@struct
class ClickResult:
    """Results of each round of clicks for every mask (leading axis r; absent within a round).

    `iou` is that of the carried mask, the one with the highest predicted IoU; `oracle` is the best of the returned
    masks, three after the first click and one after that; `predicted_iou` is the model's estimate for the carried mask.
    `logits` are the carried mask's, in half precision for drawing: at 1024 pixels eight rounds of 128 masks take 134
    MB.
    """

    iou: Float[Array, "*r b m"]
    oracle: Float[Array, "*r b m"]
    predicted_iou: Float[Array, "*r b m"]
    logits: Float16[Array, "*r b m low_h low_w"]


Embed = Callable[[Sam, Batch], Float[Array, "b gh gw c"]]


def embed_photos(model: Sam, batch: Batch) -> Float[Array, "b gh gw c"]:
    """Return the embeddings of a batch's photos."""
    assert batch.image is not None
    return model.encode(batch.image, batch.valid_size)


def click_through(
    model: Sam, batch: Batch, config: SamConfig, *, clicks: int, embed: Embed = embed_photos
) -> tuple[ClickResult, Prompts]:
    """Give every mask of `batch` `clicks` evaluation clicks; return each round's result and the clicks.

    `embed` returns the photos' embeddings.
    """
    masks = unpack_masks(batch.masks, config.image_size[1])
    valid = valid_pixels(batch.valid_size, config.image_size)[:, None]

    def true_iou(logits: Float[Array, "b m k low_h low_w"]) -> Float32[Array, "b m k"]:
        """At the model's resolution, one candidate after the other."""
        upscaled = (upscale(logits[:, :, k], config.image_size) for k in range(logits.shape[2]))
        return jnp.stack([mask_iou(candidate, masks, valid) for candidate in upscaled], axis=-1)

    def observe(output: MaskOutput, carried: MaskOutput, _: Any) -> ClickResult:
        return ClickResult(
            iou=true_iou(carried.logits)[..., 0],
            oracle=true_iou(output.logits).max(axis=-1),
            predicted_iou=carried.iou[..., 0],
            logits=carried.logits[:, :, 0].astype(jnp.float16),
        )

    interaction = evaluate_clicks(
        model.decoder(embed(model, batch)),
        observe,
        masks=masks,
        valid_size=batch.valid_size,
        logits_size=config.logits_size,
        clicks=clicks,
    )
    return interaction.observations, interaction.prompts


def figures(clicks: Sequence[int]) -> list[str]:
    """Return the names of the IoUs that a validation reports: of the carried mask, and of the best first mask."""
    return [*(f"miou@{k}" for k in clicks), "oracle@1"]


class ClickValidator:
    """Validates by clicks on the same held-out photos each time it is called.

    `merge` makes a model from parameters and buffers; each validation reads `batches` again, whose photos `embed`
    encodes. Results have the sharding `replicated`, so that every process returns the same row and pictures.
    """

    def __init__(
        self,
        merge: Callable[[Any, Any], Sam],
        config: SamConfig,
        *,
        batches: Callable[[], Any],
        clicks: Sequence[int],
        sheet_rows: int,
        replicated: jax.sharding.Sharding,
        embed: Embed = embed_photos,
    ):
        self._clicks, self._sheet_rows, self._batches = tuple(clicks), sheet_rows, batches
        self._config = config
        self._click_through = jax.jit(
            lambda params, buffers, batch: click_through(
                merge(params, buffers), batch, config, clicks=max(clicks), embed=embed
            ),
            out_shardings=replicated,
        )
        self._everywhere = jax.jit(lambda tree: tree, out_shardings=replicated)

    def __call__(self, state: Any, step: int) -> tuple[dict[str, float | int], dict[str, np.ndarray]]:
        """Return the row of metrics and the picture sheet; `state` has `params` and `buffers`."""
        del step
        totals = dict.fromkeys(figures(self._clicks), 0.0)
        photos = count = 0
        rows: list[SheetRow] = []
        for batch in self._batches():
            result, prompts = self._click_through(state.params, state.buffers, batch)
            iou, oracle, valid = jax.device_get((result.iou, result.oracle, self._everywhere(batch.mask_valid)))
            for k in self._clicks:
                totals[f"miou@{k}"] += float(iou[k - 1][valid].sum())
            totals["oracle@1"] += float(oracle[0][valid].sum())
            count += int(valid.sum())
            photos += int(valid.any(axis=1).sum())
            if len(rows) < self._sheet_rows:
                rows += self._sheet_rows_of(batch, result, prompts, limit=self._sheet_rows - len(rows))
        row = {name: total / max(1, count) for name, total in totals.items()}
        pictures = {"val_clicks": draw_sheet(rows)} if rows else {}
        return {**row, "photos": photos, "masks": count}, pictures

    def _sheet_rows_of(self, batch: Batch, result: ClickResult, prompts: Prompts, *, limit: int) -> list[SheetRow]:
        """The largest object of each photo."""
        batch, prompts = jax.device_get((self._everywhere(batch), prompts))
        iou, predicted = jax.device_get((result.iou, result.predicted_iou))
        assert batch.image is not None
        rows = []
        for b in range(batch.image.shape[0]):
            if len(rows) == limit or not batch.mask_valid[b].any():
                continue
            masks = np.unpackbits(batch.masks[b], axis=-1, count=batch.image.shape[2]).astype(bool)
            m = int(np.argmax(np.where(batch.mask_valid[b], masks.sum(axis=(1, 2)), -1)))
            height, width = (int(side) for side in batch.valid_size[b])
            steps = [k - 1 for k in self._clicks]
            logits = np.asarray(result.logits[:, b, m], np.float32)[steps]
            predictions = np.asarray(predicted_mask(jnp.asarray(logits), masks.shape[1:]))
            rows.append(
                SheetRow(
                    image=np.asarray(batch.image[b, :height, :width]),
                    truth=masks[m, :height, :width],
                    predictions=list(predictions[:, :height, :width]),
                    clicks=[_first_clicks(prompts, b, m, count=k) for k in self._clicks],
                    captions=[f"{k}: iou {iou[k - 1, b, m]:.2f}" for k in self._clicks],
                    details=[f"predicted {predicted[k - 1, b, m]:.2f}" for k in self._clicks],
                )
            )
        return rows


def _first_clicks(prompts: Prompts, b: int, m: int, *, count: int) -> list[tuple[float, float, bool]]:
    """Return (x, y, foreground) of the first `count` clicks; slot 1 is the NOT_A_POINT of a mask without a box."""
    slots = [0, *range(2, count + 1)]
    coords, labels = np.asarray(prompts.coords[b, m]), np.asarray(prompts.labels[b, m])
    return [
        (float(coords[slot, 0]), float(coords[slot, 1]), bool(labels[slot] == PointLabel.FOREGROUND))
        for slot in slots
        if prompts.valid[b, m, slot]
    ]
