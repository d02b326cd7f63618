"""From numbers on the device to rows, without waiting for the device in between."""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from samjax.core.types import Batch
from samjax.models.sam.flops import photo_flops
from samjax.parallel.chips import chip_of
from samjax.train.clock import Part, RunClock
from samjax.train.config import TrainConfig


class NonFiniteLossError(RuntimeError):
    """The loss or the gradient of a step is not finite; the message names the step and its photos."""


def model_flops_per_photo(config: TrainConfig) -> int:
    """Return the least that training on one photo takes, all mask slots filled."""
    return photo_flops(config.model, masks=config.data.max_masks, rounds=config.prompting.rounds).training


def peak_images_per_s(config: TrainConfig, mesh: Mesh) -> float | None:
    """Return the photos/s of chips that do nothing but the model's FLOPs, at their bfloat16 peak: an MFU of 1.

    The FLOPs are the least that the model can be trained with, whatever was spent; every slot of a mask counts. None on
    devices without published peaks, as CPUs.
    """
    chip = chip_of(mesh.devices.flat[0].device_kind)
    if chip is None:
        return None
    return mesh.size * chip.flops / model_flops_per_photo(config)


class PendingMetrics:
    """Steps whose metrics are still on the device, and what they took by the run's clock.

    `peak` is what `peak_images_per_s` returns.
    """

    def __init__(self, *, batch_size: int, clock: RunClock, peak: float | None = None):
        self._batch_size = batch_size
        self._clock = clock
        self._peak = peak
        self._pending: list[tuple[int, Mapping[str, jax.Array], jax.Array]] = []

    def add(self, step: int, metrics: Mapping[str, jax.Array], batch: Batch) -> None:
        """Note a step that was dispatched."""
        self._pending.append((step, metrics, batch.record_id))

    def flush(self) -> dict[str, float | int] | None:
        """Wait for the pending steps, check each, and return the last one's row; None if there is none.

        The row is the last step's metrics, `images_per_s` (validation and saves left out), `mfu` where there is a peak,
        and the clock's lap.

        Raises:
          NonFiniteLossError: a loss or gradient norm is not finite.
        """
        if not self._pending:
            return None
        fetched = [(step, jax.device_get(dict(metrics)), ids) for step, metrics, ids in self._pending]
        for step, metrics, ids in fetched:
            wrong = [name for name in ("loss", "grad_norm") if not np.isfinite(metrics[name])]
            if wrong:
                records = sorted({int(i) for shard in ids.addressable_shards for i in np.asarray(shard.data).ravel()})
                raise NonFiniteLossError(
                    f"step {step}: {wrong[0]} is {float(metrics[wrong[0]])}; its photos are image_id {records}. "
                    "The last checkpoint is from before it; look at these photos, or lower the learning rate"
                )
        step, metrics, _ = fetched[-1]
        lap = self._clock.lap(steps=len(fetched))
        self._pending.clear()
        images_per_s = self._batch_size / max(lap[Part.DATA.value] + lap[Part.STEP.value], 1e-9)
        row = {name: float(value) for name, value in metrics.items()}
        speed = {"images_per_s": images_per_s} | ({} if self._peak is None else {"mfu": images_per_s / self._peak})
        return {"step": step, **row, **speed, **lap}
