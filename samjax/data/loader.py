"""Batches for training and validation: grain's examples stacked, counted, and placed on the devices."""

import collections
import concurrent.futures
import dataclasses
import json
import logging
import weakref
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from samjax.core.errors import UserError
from samjax.core.types import Batch
from samjax.data.layout import HostBatch, Layout
from samjax.data.pipeline import DataConfig, Dropped, Example, Fault, MakeExample, Rows, in_order, read, shuffled
from samjax.data.progress import Progress, StreamCounts
from samjax.data.sources import RecordSource, open_source
from samjax.data.tolerance import TOLERATED, too_many

log = logging.getLogger(__name__)


def _refuse_too_many(name: str, *, bad: int, seen: int, total: int) -> None:
    if too_many(bad=bad, seen=seen, total=total):
        raise UserError(
            f"{name}: {bad:,} of {seen:,} records are corrupt, more than {TOLERATED:.0%}; the log names them: restore "
            "the shards, or prepare the data again"
        )


class TrainStream:
    """An endless iterator of training batches; the next ones are prepared in the background.

    `get_state` and `set_state` make it an item of `grain.checkpoint.CheckpointSave` and `CheckpointRestore`: the state
    is that of the last batch handed out, whatever was prepared ahead, and the batches after a restore equal those of an
    uninterrupted run bit for bit. The state does not depend on threads, workers or prefetch sizes.
    """

    def __init__(self, config: DataConfig, *, layout: Layout, seed: int):
        config.check()
        if not 0 <= seed < 2**32:
            raise UserError(f"seed is {seed}: give one from 0 to {2**32 - 1}")
        self._config = config
        self._layout = layout
        self._source = open_source(config.source, config.split)
        make = MakeExample(config, image_size=layout.image_size)
        self._dataset = shuffled(self._source, make, seed=seed)
        self._identity = {
            "seed": seed,
            "records": len(self._source),
            "batch_size": layout.batch_size,
            "first_row": int(layout.rows[0]),
            "rows": len(layout.rows),
        }
        self._progress = Progress()
        self._ahead: _Ahead | None = None

    @property
    def counts(self) -> StreamCounts:
        """What was read and left out up to the last batch handed out."""
        return self._progress.counts

    @property
    def records(self) -> int:
        """Records of an epoch, on all processes together."""
        return len(self._source)

    def __iter__(self) -> "TrainStream":
        return self

    def __next__(self) -> Batch:
        """Return the next batch.

        Raises:
          UserError: more than 1% of an epoch's records are corrupt, or none of them can be used.
        """
        host, progress = self._start().take()
        self._progress = progress
        return self._layout.place(host)

    def start_prefetch(self) -> None:
        """Begin to prepare batches in the background; the first `next` does it otherwise."""
        self._start()

    def _start(self) -> "_Ahead":
        if self._ahead is None:
            assembler = _Assembler(self._dataset, self._config, self._layout, self._source, self._progress)
            self._ahead = _Ahead(assembler, batches=self._config.prefetch_batches)
            self._stop = weakref.finalize(self, self._ahead.close)  # also at exit: grain's workers do not end cleanly
        return self._ahead

    def get_state(self) -> bytes:
        """Return the state after the last batch handed out, as JSON."""
        return json.dumps({**dataclasses.asdict(self._progress), "stream": self._identity}, indent=1).encode()

    def set_state(self, state: bytes) -> None:
        """Continue after the batch that `state` was taken at.

        Raises:
          UserError: the state is of another stream: other seed, records or batch.
        """
        try:
            values = json.loads(state)
            identity = dict(values.pop("stream"))
            progress = Progress(**{**values, "counts": StreamCounts(**values["counts"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                f"the checkpoint's data stream state is damaged ({error!r}): restore an earlier one"
            ) from error
        for name, mine in self._identity.items():
            if identity.get(name) != mine:
                raise UserError(
                    f"the checkpoint's data stream has {name} {identity.get(name)} but this run has {mine}: continue "
                    "with the same data, seed, batch size and processes, or start in a new workdir"
                )
        self.close()
        self._progress = progress

    def close(self) -> None:
        """Stop preparing batches and end worker processes; `next` starts them again where the stream is."""
        if self._ahead is not None:
            self._stop()
            self._ahead = None


class _Ahead:
    """Assembles batches ahead, in a thread of its own."""

    def __init__(self, assembler: "_Assembler", *, batches: int):
        self._assembler = assembler
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="samjax-batches")
        self._ready = collections.deque(self._thread.submit(assembler.next_batch) for _ in range(batches))

    def take(self) -> tuple[HostBatch, Progress]:
        """Return the next batch and the progress after it; raises what went wrong, again at every later call."""
        taken = self._ready[0].result()
        self._ready.popleft()
        self._ready.append(self._thread.submit(self._assembler.next_batch))
        return taken

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
        self._assembler.close()


class _Assembler:
    """Gathers usable examples into host batches, ahead of what was handed out."""

    def __init__(self, dataset: Any, config: DataConfig, layout: Layout, source: RecordSource, progress: Progress):
        self._layout = layout
        self._source = source
        self._progress = progress
        self._places = Rows(layout.rows, batch_size=layout.batch_size)
        rows = Rows(layout.rows, batch_size=layout.batch_size, start=progress.position)
        self._elements: Any = read(dataset, rows, config)
        self._failure: Exception | None = None

    def next_batch(self) -> tuple[HostBatch, Progress]:
        """Return the next rows of this process, and the progress after them; after a failure only that failure."""
        if self._failure is not None:
            raise self._failure
        try:
            return self._gather()
        except Exception as error:
            self._failure = error
            raise

    def _gather(self) -> tuple[HostBatch, Progress]:
        examples: list[Example | None] = []
        unusable = 0
        while len(examples) < len(self._layout.rows):
            element = next(self._elements)
            self._count(element)
            if isinstance(element, Example):
                examples.append(element)
                unusable = 0
                continue
            unusable += 1
            self._report(element)
            if unusable >= len(self._source):
                raise UserError(
                    f"{self._source.name}: none of {unusable:,} records in a row can be used; the last was "
                    f"{element.name}: {element.reason}; check --data.max-area-fraction and the data"
                )
        return self._layout.stack(examples), self._progress

    def _count(self, element: Example | Dropped) -> None:
        position, total = self._progress.position, len(self._source)
        epoch = self._places.place(position) // total
        before = self._places.place(position - 1) // total if position else None
        self._progress = self._progress.count(element, first_of_epoch=epoch != before)

    def _report(self, dropped: Dropped) -> None:
        progress = self._progress
        if dropped.fault is not Fault.CORRUPT:
            if progress.counts.records <= len(self._source):  # later epochs only count it again
                log.info("%s, %s: %s. Skipped.", self._source.name, dropped.name, dropped.reason)
            return
        log.warning(
            "%s, %s: %s. Record skipped (%d of %d this epoch; the run stops above %.0f%%).",
            self._source.name,
            dropped.name,
            dropped.reason,
            progress.corrupt_this_epoch,
            progress.seen_this_epoch,
            100 * TOLERATED,
        )
        _refuse_too_many(
            self._source.name,
            bad=progress.corrupt_this_epoch,
            seen=progress.seen_this_epoch,
            total=-(-len(self._source) * len(self._layout.rows) // self._layout.batch_size),
        )

    def close(self) -> None:
        self._elements.close()
        self._elements = iter(())  # grain's iterators complain if they live on until the interpreter ends


def train_stream(
    config: DataConfig,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    seed: int,
    sharding: jax.sharding.Sharding | None = None,
) -> TrainStream:
    """Return the endless stream of training batches.

    Args:
      config: the data and how it is loaded.
      image_size: the model's frame, (height, width).
      batch_size: photos of a batch, on all processes together.
      seed: of the order and of the mask draws; the same batches come out on any number of processes, as long as no
        record is skipped.
      sharding: of the batch's leading axis, over all processes' devices; None is one device of one process.

    Raises:
      UserError: no such data, a value that cannot be used, or a batch that the sharding cannot split.
    """
    config.check()
    layout = Layout(image_size=image_size, max_masks=config.max_masks, batch_size=batch_size, sharding=sharding)
    return TrainStream(config, layout=layout, seed=seed)


def validation_batches(
    config: DataConfig,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    sharding: jax.sharding.Sharding | None = None,
    limit: int | None = None,
) -> Iterator[Batch]:
    """Yield the photos of `config.split` once, in their order, with always the same masks.

    Rows without a photo (the last batch's rest, records that cannot be used) have `record_id` -1 and no valid mask, so
    that every process yields the same number of batches.

    Args:
      config: the data and how it is loaded.
      image_size: the model's frame, (height, width).
      batch_size: photos of a batch, on all processes together.
      sharding: as in `train_stream`.
      limit: use the first photos only.

    Raises:
      UserError: as `train_stream`, or more than 1% of the records are corrupt.
    """
    config.check()
    layout = Layout(image_size=image_size, max_masks=config.max_masks, batch_size=batch_size, sharding=sharding)
    source = open_source(config.source, config.split)
    total = len(source) if limit is None else min(limit, len(source))
    return _validate(config, layout, source, total)


def _validate(config: DataConfig, layout: Layout, source: RecordSource, total: int) -> Iterator[Batch]:
    batches, rest = divmod(total, layout.batch_size)
    mine = batches * len(layout.rows) + int(np.sum(layout.rows < rest))
    rows = Rows(layout.rows, batch_size=layout.batch_size, stop=mine)
    elements = read(in_order(source, MakeExample(config, image_size=layout.image_size)), rows, config)
    seen, corrupt = 0, 0
    try:
        for batch in range(-(-total // layout.batch_size)):
            examples: list[Example | None] = []
            for row in layout.rows:
                element = next(elements) if batch * layout.batch_size + row < total else None
                seen += element is not None
                if isinstance(element, Dropped):
                    corrupt += element.fault is Fault.CORRUPT
                    log.warning("%s, %s: %s. Record skipped.", source.name, element.name, element.reason)
                    _refuse_too_many(source.name, bad=corrupt, seen=seen, total=mine)
                examples.append(element if isinstance(element, Example) else None)
            yield layout.place(layout.stack(examples))
    finally:
        elements.close()
