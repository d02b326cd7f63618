"""Batches for training and validation, as global arrays on the devices."""

import logging
import time
import weakref
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from samjax.core.errors import UserError
from samjax.core.text import printable
from samjax.data.stream.assembly import Ahead, Assembler, refuse_machine_fault, refuse_too_many
from samjax.data.stream.batch_rows import BatchRows
from samjax.data.stream.data_config import DataConfig
from samjax.data.stream.example import DroppedRecord, Example, ExampleMaker, Fault
from samjax.data.stream.mixture import Mixture, open_mixture
from samjax.data.stream.position import Counts, Position
from samjax.data.stream.row_selection import Rows, read

log = logging.getLogger(__name__)


class TrainStream:
    """An endless iterator of training batches; the next ones are prepared in the background.

    The batch of a step depends only on the data, the seed, the batch size and the step, not on the number of processes,
    threads or workers, nor on prefetching. So `set_step` can move to any step. `get_state` and `set_state`, for grain's
    `CheckpointSave` and `CheckpointRestore`, add only this process's counts and an identity by which checkpoints of
    another stream are refused.
    """

    def __init__(self, config: DataConfig, maker: ExampleMaker, *, rows: BatchRows, mixture: Mixture, seed: int):
        if not 0 <= seed < 2**32:
            raise UserError(f"seed is {seed}: give one from 0 to {2**32 - 1}")
        self._config = config
        self._rows = rows
        self._mixture = mixture
        self._dataset = mixture.shuffle(maker, seed=seed)
        self._identity = {
            "seed": seed,
            "batch_size": rows.batch_size,
            "records": [len(source) for source in mixture.sources],
            "weights": mixture.weights,
        }
        self._part = {"first_row": int(rows.rows[0]), "rows": len(rows.rows)}
        self._position = Position()
        self._ahead: Ahead | None = None
        self.waited = 0.0
        """Seconds that `next` waited for a batch, excluding the first one of a start."""

    @property
    def counts(self) -> Counts:
        """Counts of what was read and excluded, up to the last batch returned."""
        return self._position.counts

    @property
    def records(self) -> int:
        """Records per epoch, over all processes."""
        return len(self._mixture)

    def __iter__(self) -> "TrainStream":
        return self

    def __next__(self) -> Any:
        """Return the next batch.

        Raises:
          UserError: more than 1% of an epoch's records are corrupt, or none of them can be used.
        """
        fresh = self._ahead is None
        ahead = self._start()
        began = time.monotonic()
        batch, self._position = ahead.take()
        self.waited += 0.0 if fresh else time.monotonic() - began
        return batch

    def start_prefetch(self) -> None:
        """Start to prepare batches in the background; otherwise the first `next` does."""
        self._start()

    def _start(self) -> Ahead:
        if self._ahead is None:
            assembler = Assembler(
                self._dataset,
                config=self._config,
                rows=self._rows,
                mixture=self._mixture,
                position=self._position,
            )
            self._ahead = Ahead(assembler, batches=self._config.prefetch_batches)
            self._stop = weakref.finalize(
                self, self._ahead.close
            )  # also at exit: grain's workers do not exit cleanly by themselves
        return self._ahead

    def get_state(self) -> bytes:
        """Return the state after the last batch returned, as JSON."""
        return self._position.to_json(part=self._part, stream=self._identity)

    def set_state(self, state: bytes) -> None:
        """Continue after the batch of `state`, which any process of a run with any number of processes may have saved.

        Counts continue if this process had the same rows, and restart at 0 if rows were distributed differently.

        Raises:
          UserError: the state is from another stream: another seed, data set, weight or batch size.
        """
        position, (part, identity) = Position.from_json(state, "part", "stream")
        for name, mine in self._identity.items():
            if identity.get(name) != mine:
                raise UserError(
                    f"the checkpoint's data stream has {name} {identity.get(name)} but this run has {mine}: continue "
                    "with the same data, seed and batch size, or start in a new workdir"
                )
        if part != self._part:
            log.warning("The checkpoint's processes held other rows of a batch: counts of records restart at 0.")
            position = Position(step=position.step)
        self.close()
        self._position = position

    def set_step(self, step: int) -> None:
        """Continue with the batch of `step`, counted from 0; the counts restart."""
        if step < 0:
            raise UserError(f"step is {step}: give 0 or more")
        self.close()
        self._position = Position(step=step)

    def close(self) -> None:
        """Stop preparing batches and stop worker processes; `next` restarts them at the current position."""
        if self._ahead is not None:
            self._stop()
            self._ahead = None


def train_stream(
    config: DataConfig,
    maker: ExampleMaker,
    *,
    batch_size: int,
    seed: int,
    sharding: jax.sharding.Sharding | None = None,
) -> TrainStream:
    """Return the endless stream of training batches.

    Args:
      config: the data and how it is loaded.
      maker: turns a record into the task's example.
      batch_size: photos per batch, over all processes.
      seed: of the order, and of the random draws of `maker`; the batches are the same on any number of processes.
      sharding: of the batch's leading axis, over the devices of all processes; None means one device of one process.

    Raises:
      UserError: there is no such data, a value is invalid, or the sharding cannot split the batch.
    """
    rows = BatchRows(maker, batch_size=batch_size, sharding=sharding)
    return TrainStream(config, maker, rows=rows, mixture=open_mixture(config, maker.schema), seed=seed)


def validation_batches(
    config: DataConfig,
    maker: ExampleMaker,
    *,
    batch_size: int,
    sharding: jax.sharding.Sharding | None = None,
    limit: int | None = None,
) -> Iterator[Any]:
    """Yield the records of `config.split` once, in order, with the same randomness every time.

    Rows without a record (the rest of the last batch, unusable records) have `record_id` -1 and zeros, so that every
    process yields the same number of batches.

    Args:
      config: the data and how it is loaded.
      maker: turns a record into the task's example, without augmentation.
      batch_size: photos per batch, over all processes.
      sharding: as in `train_stream`.
      limit: use the first photos only.

    Raises:
      UserError: as `train_stream`, or more than 1% of the records are corrupt.
    """
    rows = BatchRows(maker, batch_size=batch_size, sharding=sharding)
    mixture = open_mixture(config, maker.schema)
    total = len(mixture) if limit is None else min(limit, len(mixture))
    return _in_order(config, maker, rows, mixture, total)


def _in_order(config: DataConfig, maker: ExampleMaker, rows: BatchRows, mixture: Mixture, total: int) -> Iterator[Any]:
    batches, rest = divmod(total, rows.batch_size)
    mine = batches * len(rows.rows) + int(np.sum(rows.rows < rest))
    elements = read(mixture.in_order(maker), Rows(rows.rows, batch_size=rows.batch_size, stop=mine), config)
    seen, corrupt = 0, 0
    unusable: list[DroppedRecord] = []
    try:
        for batch in range(-(-total // rows.batch_size)):
            examples: list[Example | None] = []
            for row in rows.rows:
                element = next(elements) if batch * rows.batch_size + row < total else None
                refuse_machine_fault(element)
                seen += element is not None
                if isinstance(element, DroppedRecord) and element.fault is Fault.UNUSABLE:
                    unusable.append(element)
                elif isinstance(element, DroppedRecord):
                    corrupt += 1
                    log.warning("%s: %s. Its row stays empty.", printable(element.name), printable(element.reason))
                    refuse_too_many(mixture.name, bad=corrupt, seen=seen, total=mine)
                examples.append(element if isinstance(element, Example) else None)
            yield rows.place(rows.stack(examples))
        if unusable:  # one line for all: photos without masks may be there on purpose
            first = printable(f"{unusable[0].name}: {unusable[0].reason}")
            log.info(
                "Of %d records %d give no example; their rows stay empty. The first is %s.", seen, len(unusable), first
            )
    finally:
        elements.close()
