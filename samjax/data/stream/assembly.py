"""Assembles batches in the background: gathers, counts and stacks examples and sends them to the devices."""

import collections
import concurrent.futures
import logging
from typing import Any

from samjax.core.errors import MachineError, UserError
from samjax.core.text import printable
from samjax.data.stream.batch_rows import BatchRows
from samjax.data.stream.data_config import DataConfig
from samjax.data.stream.example import DroppedRecord, Example, Fault
from samjax.data.stream.mixture import Mixture
from samjax.data.stream.position import Position
from samjax.data.stream.row_selection import Rows, read
from samjax.data.stream.tolerance import TOLERATED, too_many

log = logging.getLogger(__name__)

_HOPELESS = 1_000
"""Consecutive unusable records that end a run: with 1% usable records, one run in 20,000 would meet that by chance."""


def refuse_too_many(name: str, *, bad: int, seen: int, total: int) -> None:
    """Raise UserError if `bad` corrupt records among `seen`, of `total`, are more than a data set may hold."""
    if too_many(bad=bad, seen=seen, total=total):
        raise UserError(
            f"{name}: {bad:,} of {seen:,} records are corrupt, more than {TOLERATED:.0%}; the log names them: restore "
            "the shards, or prepare the data again"
        )


def refuse_machine_fault(element: Example | DroppedRecord | None) -> None:
    """Raise MachineError if the machine failed to read a record: the data may be sound."""
    if isinstance(element, DroppedRecord) and element.fault is Fault.MACHINE:
        raise MachineError(
            f"{element.name}: {element.reason}; the data is not at fault: run the same command again once this is fixed"
        )


class Ahead:
    """Keeps batches ready on the devices, assembled in a background thread while steps run."""

    def __init__(self, assembler: "Assembler", *, batches: int):
        self._assembler = assembler
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="samjax-batches")
        self._ready = collections.deque(self._thread.submit(assembler.next_batch) for _ in range(batches))

    def take(self) -> tuple[Any, Position]:
        """Return the next batch and the position after it; raises the background thread's error, again at every later
        call."""
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
    """Gathers this process's rows of each global batch.

    A record's row depends only on the seed and its place in the global order. The row of a record without an example
    stays empty and no other moves up, so that all processes stay in step; since the loss is divided by the valid masks
    of the global batch, an empty row does not affect the others.
    """

    def __init__(self, dataset: Any, *, config: DataConfig, rows: BatchRows, mixture: Mixture, position: Position):
        self._rows = rows
        self._mixture = mixture
        self._position = position
        self._unusable = 0
        mine = Rows(rows.rows, batch_size=rows.batch_size, step=position.step)
        self._elements: Any = read(dataset, mine, config)
        self._failure: Exception | None = None

    def next_batch(self) -> tuple[Any, Position]:
        """Return the next batch, in transfer to the devices, and the position after it.

        After a failure only that failure.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._gather()
        except Exception as error:
            self._failure = error
            raise

    def _gather(self) -> tuple[Any, Position]:
        position = self._position
        examples: list[Example | None] = []
        for row in self._rows.rows:
            element = next(self._elements)
            refuse_machine_fault(element)
            place = position.step * self._rows.batch_size + int(row)
            position = position.count(element, epoch=place // len(self._mixture))
            if isinstance(element, Example):
                examples.append(element)
                self._unusable = 0
            else:
                examples.append(None)
                self._unusable += 1
                self._report(element, position)
        self._position = position.next_step()
        return self._rows.place(self._rows.stack(examples)), self._position

    def _report(self, dropped: DroppedRecord, position: Position) -> None:
        name, records = self._mixture.name, len(self._mixture)
        if dropped.fault is Fault.CORRUPT:
            log.warning(
                "%s: %s. Its row stays empty (%d of %d this epoch; the run stops above %.0f%%).",
                printable(dropped.name),
                printable(dropped.reason),
                position.corrupt_this_epoch,
                position.seen_this_epoch,
                100 * TOLERATED,
            )
            refuse_too_many(
                name, bad=position.corrupt_this_epoch, seen=position.seen_this_epoch, total=self._share(records)
            )
        elif position.epoch == 0:  # later epochs only count it
            log.info("%s: %s. Its row stays empty.", printable(dropped.name), printable(dropped.reason))
        # Two epochs of one process hold every record at least once; with several processes, chance decides.
        if self._unusable >= min(_HOPELESS, 2 * records * -(-self._rows.batch_size // len(self._rows.rows))):
            raise UserError(
                f"{name}: none of {self._unusable:,} records in a row can be used; the last was {dropped.name}: "
                f"{dropped.reason}; check the rules of --data that leave records out, and the data"
            )

    def _share(self, records: int) -> int:
        """Return how many of an epoch's records this process reads."""
        return -(-records * len(self._rows.rows) // self._rows.batch_size)

    def close(self) -> None:
        """End worker processes."""
        self._elements.close()
        self._elements = iter(())  # grain's iterators complain if they live until the interpreter exits
