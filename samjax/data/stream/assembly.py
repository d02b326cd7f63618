"""Batches put together in the background: examples gathered, counted, stacked and sent to the devices."""

import collections
import concurrent.futures
import logging
from typing import Any

from samjax.core.errors import MachineError, UserError
from samjax.core.text import printable
from samjax.core.types import Batch
from samjax.data.config import DataConfig
from samjax.data.stream.batch_rows import Layout
from samjax.data.stream.example import Dropped, Example, Fault, Rows, read
from samjax.data.stream.mixture import Mixture
from samjax.data.stream.position import Progress
from samjax.data.stream.tolerance import TOLERATED, too_many

log = logging.getLogger(__name__)

_HOPELESS = 1_000
"""Records in a row without one that can be used: with a share of 1% usable, one run in 20,000 would meet that."""


def refuse_too_many(name: str, *, bad: int, seen: int, total: int) -> None:
    """Raise UserError where `bad` of `seen` records, of `total`, are more corrupt ones than a set may hold."""
    if too_many(bad=bad, seen=seen, total=total):
        raise UserError(
            f"{name}: {bad:,} of {seen:,} records are corrupt, more than {TOLERATED:.0%}; the log names them: restore "
            "the shards, or prepare the data again"
        )


def refuse_machine_fault(element: Example | Dropped | None) -> None:
    """Raise MachineError where the machine failed to read a record: the data may be sound."""
    if isinstance(element, Dropped) and element.fault is Fault.MACHINE:
        raise MachineError(
            f"{element.name}: {element.reason}; that is no fault of the data: give the same command again when it is "
            "mended"
        )


class Ahead:
    """Keeps batches ready on the devices, put together in a thread of its own while a step runs."""

    def __init__(self, assembler: "Assembler", *, batches: int):
        self._assembler = assembler
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="samjax-batches")
        self._ready = collections.deque(self._thread.submit(assembler.next_batch) for _ in range(batches))

    def take(self) -> tuple[Batch, Progress]:
        """Return the next batch and the progress after it; raises what went wrong, again at every later call."""
        taken = self._ready[0].result()
        self._ready.popleft()
        self._ready.append(self._thread.submit(self._assembler.next_batch))
        return taken

    def close(self) -> None:
        """Stop, and end worker processes."""
        self._thread.shutdown(cancel_futures=True)
        self._assembler.close()
        self._ready.clear()


class Assembler:
    """Gathers this process's rows of one global batch after the other.

    Every record has its row, a function of the seed and its place in the global order alone. That of a record which
    gives no example stays empty: no other moves up, so that all processes stay in step, and since the loss is divided
    by the valid masks of the global batch an empty row changes nothing for the others.
    """

    def __init__(self, dataset: Any, *, config: DataConfig, layout: Layout, mixture: Mixture, progress: Progress):
        self._layout = layout
        self._mixture = mixture
        self._progress = progress
        self._unusable = 0
        rows = Rows(layout.rows, batch_size=layout.batch_size, step=progress.step)
        self._elements: Any = read(dataset, rows, config)
        self._failure: Exception | None = None

    def next_batch(self) -> tuple[Batch, Progress]:
        """Return the next batch, on its way to the devices, and the progress after it.

        After a failure only that failure.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._gather()
        except Exception as error:
            self._failure = error
            raise

    def _gather(self) -> tuple[Batch, Progress]:
        progress = self._progress
        examples: list[Example | None] = []
        for row in self._layout.rows:
            element = next(self._elements)
            refuse_machine_fault(element)
            place = progress.step * self._layout.batch_size + int(row)
            progress = progress.count(element, epoch=place // len(self._mixture))
            if isinstance(element, Example):
                examples.append(element)
                self._unusable = 0
            else:
                examples.append(None)
                self._unusable += 1
                self._report(element, progress)
        self._progress = progress.next_step()
        return self._layout.place(self._layout.stack(examples)), self._progress

    def _report(self, dropped: Dropped, progress: Progress) -> None:
        name, records = self._mixture.name, len(self._mixture)
        if dropped.fault is Fault.CORRUPT:
            log.warning(
                "%s: %s. Its row stays empty (%d of %d this epoch; the run stops above %.0f%%).",
                printable(dropped.name),
                printable(dropped.reason),
                progress.corrupt_this_epoch,
                progress.seen_this_epoch,
                100 * TOLERATED,
            )
            refuse_too_many(
                name, bad=progress.corrupt_this_epoch, seen=progress.seen_this_epoch, total=self._share(records)
            )
        elif progress.epoch == 0:  # later epochs only count it again
            log.info("%s: %s. Its row stays empty.", printable(dropped.name), printable(dropped.reason))
        # Two epochs of one process hold every record at least once; with several processes, chance decides.
        if self._unusable >= min(_HOPELESS, 2 * records * -(-self._layout.batch_size // len(self._layout.rows))):
            raise UserError(
                f"{name}: none of {self._unusable:,} records in a row can be used; the last was {dropped.name}: "
                f"{dropped.reason}; check --data.max-area-fraction, the other bounds on masks, and the data"
            )

    def _share(self, records: int) -> int:
        """Return how many of an epoch's records come to this process."""
        return -(-records * len(self._layout.rows) // self._layout.batch_size)

    def close(self) -> None:
        """End worker processes."""
        self._elements.close()
        self._elements = iter(())  # grain's iterators complain if they live on until the interpreter ends
