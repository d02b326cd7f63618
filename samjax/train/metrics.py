"""From numbers on the device to rows, without waiting for the device in between."""

import time
from collections.abc import Mapping

import jax
import numpy as np

from samjax.core.types import Batch


class NonFiniteLossError(RuntimeError):
    """The loss or the gradient of a step is not finite; the message names the step and its photos."""


class PendingMetrics:
    """Steps whose metrics are still on the device, and the clock of the photos they took."""

    def __init__(self, *, batch_size: int):
        self._batch_size = batch_size
        self._pending: list[tuple[int, Mapping[str, jax.Array], jax.Array]] = []
        self._since = time.monotonic()
        self._paused = 0.0

    def add(self, step: int, metrics: Mapping[str, jax.Array], batch: Batch) -> None:
        """Note a step that was dispatched."""
        self._pending.append((step, metrics, batch.record_id))

    def paused(self, seconds: float) -> None:
        """Take time that was not training (validation, saving) off the clock."""
        self._paused += seconds

    def flush(self) -> dict[str, float | int] | None:
        """Wait for the pending steps, check each, and return the last one's row; None if there is none.

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
        seconds = time.monotonic() - self._since - self._paused
        images = self._batch_size * len(fetched)
        step, metrics, _ = fetched[-1]
        self._pending.clear()
        self._since, self._paused = time.monotonic(), 0.0
        row = {name: float(value) for name, value in metrics.items()}
        return {"step": step, **row, "images_per_s": images / max(seconds, 1e-9)}
