"""From metrics on the device to rows of a log, without waiting for the device at every step."""

import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from samjax.core.errors import UserError
from samjax.parallel.chips import chip_of
from samjax.training.clock import Part, RunClock
from samjax.training.config import TrainConfig

log = logging.getLogger(__name__)


class NonFiniteLossError(UserError):
    """Too many steps in a row had a non-finite loss or gradient; the message names the photos."""


def peak_images_per_s(config: TrainConfig, mesh: Mesh) -> float | None:
    """Return the photos per second at an MFU of 1: only the model's FLOPs, at the chips' bfloat16 peak.

    FLOPs are the minimum that training needs, not what was spent (rematerialisation does not count); every mask slot
    counts, filled or not. None on devices without a published peak, such as CPUs, and for tasks that give no FLOPs.
    """
    chip = chip_of(mesh.devices.flat[0].device_kind)
    flops = None if chip is None else config.flops()
    return None if chip is None or flops is None else mesh.size * chip.flops / flops


class PendingMetrics:
    """Steps whose metrics are still on the device.

    `peak` is what `peak_images_per_s` returns; `skip_limit` is how many steps in a row may be skipped.
    """

    def __init__(self, *, batch_size: int, clock: RunClock, peak: float | None = None, skip_limit: int = 0):
        self._batch_size = batch_size
        self._clock = clock
        self._peak = peak
        self._skip_limit = skip_limit
        self._skipped = 0  # in a row, up to the last step checked
        self._pending: list[tuple[int, Mapping[str, jax.Array], jax.Array]] = []

    def add(self, step: int, metrics: Mapping[str, jax.Array], batch: Any) -> None:
        """Add a dispatched step."""
        self._pending.append((step, metrics, batch.record_id))

    def flush(self) -> dict[str, float | int] | None:
        """Wait for the pending steps, check each, and return the row of the last one; None if no step is pending.

        The row holds the last step's metrics, `images_per_s` (excluding validation and saving), `mfu` where a peak is
        known, and the clock's lap. If steps were skipped, `skipped` counts them and the metrics are those of the last
        step that was not.

        Raises:
          NonFiniteLossError: too many steps in a row have a non-finite loss or gradient norm.
        """
        if not self._pending:
            return None
        fetched = [(step, jax.device_get(dict(metrics)), ids) for step, metrics, ids in self._pending]
        whole = [metrics for step, metrics, ids in fetched if self._is_finite(step, metrics, ids)]
        step = fetched[-1][0]
        lap = self._clock.lap(steps=len(fetched))
        self._pending.clear()
        images_per_s = self._batch_size / max(lap[Part.DATA.value] + lap[Part.STEP.value], 1e-9)
        row = {name: float(value) for name, value in whole[-1].items()} if whole else {}
        if len(whole) < len(fetched):
            row["skipped"] = len(fetched) - len(whole)
        speed = {"images_per_s": images_per_s} | ({} if self._peak is None else {"mfu": images_per_s / self._peak})
        return {"step": step, **row, **speed, **lap}

    def _is_finite(self, step: int, metrics: Mapping[str, np.ndarray], ids: jax.Array) -> bool:
        """Return whether a step was taken; log one that was skipped."""
        wrong = [name for name in ("loss", "grad_norm") if not np.isfinite(metrics[name])]
        self._skipped = self._skipped + 1 if wrong else 0
        if not wrong:
            return True
        records = sorted({int(i) for shard in ids.addressable_shards for i in np.asarray(shard.data).ravel()})
        said = f"step {step}: {wrong[0]} is {float(metrics[wrong[0]])}; its photos are image_id {records}"
        if self._skipped > self._skip_limit:
            raise NonFiniteLossError(
                f"{said}. {self._skipped} skipped in a row, and skip_limit is {self._skip_limit}. The "
                "state is the one before the first of them; look at these photos, or lower the learning rate"
            )
        log.warning("%s. The step is skipped.", said)
        return False
