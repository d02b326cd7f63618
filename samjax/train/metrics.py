"""From numbers on the device to rows, without waiting for the device in between."""

import logging
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from samjax.core.errors import UserError
from samjax.parallel.chips import chip_of
from samjax.train.clock import Part, RunClock
from samjax.train.config import TrainConfig

log = logging.getLogger(__name__)


class NonFiniteLossError(UserError):
    """More steps in a row than are allowed had a loss or gradient that is not finite; the message names the photos."""


def peak_images_per_s(config: TrainConfig, mesh: Mesh) -> float | None:
    """Return the photos/s of chips that do nothing but the model's FLOPs, at their bfloat16 peak: an MFU of 1.

    The FLOPs are the least that the model can be trained with, whatever was spent; every slot of a mask counts. None on
    devices without published peaks, as CPUs, and for a task that does not say its FLOPs.
    """
    chip, flops = chip_of(mesh.devices.flat[0].device_kind), config.flops()
    return None if chip is None or flops is None else mesh.size * chip.flops / flops


class PendingMetrics:
    """Steps whose metrics are still on the device, and what they took by the run's clock.

    `peak` is what `peak_images_per_s` returns; `skip_limit` how many steps in a row may have been skipped.
    """

    def __init__(self, *, batch_size: int, clock: RunClock, peak: float | None = None, skip_limit: int = 0):
        self._batch_size = batch_size
        self._clock = clock
        self._peak = peak
        self._skip_limit = skip_limit
        self._skipped = 0  # in a row, up to the last step looked at
        self._pending: list[tuple[int, Mapping[str, jax.Array], jax.Array]] = []

    def add(self, step: int, metrics: Mapping[str, jax.Array], batch: Any) -> None:
        """Note a step that was dispatched."""
        self._pending.append((step, metrics, batch.record_id))

    def flush(self) -> dict[str, float | int] | None:
        """Wait for the pending steps, check each, and return the last one's row; None if there is none.

        The row is the last step's metrics, `images_per_s` (validation and saves left out), `mfu` where there is a peak,
        and the clock's lap. Where steps were skipped, `skipped` is how many, and the metrics are the last whole one's.

        Raises:
          NonFiniteLossError: too many steps in a row have a loss or gradient norm that is not finite.
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
        """Return whether a step was taken; name one that was skipped."""
        wrong = [name for name in ("loss", "grad_norm") if not np.isfinite(metrics[name])]
        self._skipped = self._skipped + 1 if wrong else 0
        if not wrong:
            return True
        records = sorted({int(i) for shard in ids.addressable_shards for i in np.asarray(shard.data).ravel()})
        said = f"step {step}: {wrong[0]} is {float(metrics[wrong[0]])}; its photos are image_id {records}"
        if self._skipped > self._skip_limit:
            raise NonFiniteLossError(
                f"{said}. It is the {self._skipped}. in a row, and skip_limit is {self._skip_limit}. The state is as "
                "before the first of them; look at these photos, or lower the learning rate"
            )
        log.warning("%s. It is skipped.", said)
        return False
