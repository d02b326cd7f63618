"""Selects the records a process reads, and decodes them ahead through grain, in threads or worker processes."""

import math
import sys
from typing import Any

import absl.flags
import grain
import numpy as np
from jaxtyping import Int

from samjax.data.masks.resample import resample
from samjax.data.stream.data_config import DataConfig


class Rows(grain.transforms.DatasetSelectionMap):
    """The places of the global order that this process reads: its rows of every global batch, from a given step.

    So the global order, and the content of every batch, is the same on any number of processes, and the position of a
    step is known without reading what comes before.
    """

    def __init__(self, rows: Int[np.ndarray, "local"], *, batch_size: int, step: int = 0, stop: int | None = None):
        self._rows = [int(row) for row in rows]
        self._batch_size = batch_size
        self._start = step * len(self._rows)
        self._length = (sys.maxsize if stop is None else stop) - self._start

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[int, int]:
        batch, row = divmod(self._start + index, len(self._rows))
        return 0, batch * self._batch_size + self._rows[row]


def read(dataset: grain.MapDataset[Any], rows: Rows, config: DataConfig) -> grain.DatasetIterator[Any]:
    """Return an iterator over this process's part of `dataset`, with prefetching; close it after use."""
    mine = grain.MapDataset.select_from_datasets([dataset], rows)
    elements = mine.to_iter_dataset(
        grain.ReadOptions(num_threads=config.threads, prefetch_buffer_size=config.prefetch_photos)
    )
    if config.workers:
        if (
            not absl.flags.FLAGS.is_parsed()
        ):  # grain reads its settings from absl's flags, which our command line does not parse
            absl.flags.FLAGS.mark_as_parsed()
        resample("1", height=1, width=1, size=(1, 1))  # compile once here; every worker finds it on disk
        per_worker = math.ceil(config.prefetch_photos / config.workers)
        elements = elements.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=config.workers, per_worker_buffer_size=per_worker)
        )
    return iter(elements)
