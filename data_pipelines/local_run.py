"""Makes shards on the cores of this machine, one unit per process at a time."""

import collections
import concurrent.futures
import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from data_pipelines.shards import ShardResult, Step, StoppedError, make_shard
from data_pipelines.units import Unit
from samjax.core.errors import UserError

_POLL_S = 0.2


class _Board(ctypes.Structure):
    """What the workers have done so far, in memory that all share."""

    _fields_ = (
        ("records", ctypes.c_int64),
        ("masks", ctypes.c_int64),
        ("dropped", ctypes.c_int64),
        ("size", ctypes.c_int64),
        ("stop", ctypes.c_bool),
    )


class _ThreadBoard:
    """The same, for a thread of this process."""

    def __init__(self):
        self.records = self.masks = self.dropped = self.size = 0
        self.stop = False
        self._lock = threading.Lock()

    def get_lock(self) -> threading.Lock:
        return self._lock


_board: Any = None


def make_shards(
    units: Sequence[Unit], out: str, *, workers: int, watch: Callable[[Step], None]
) -> Iterator[tuple[int, ShardResult]]:
    """Yield the index and the result of every unit, as they are done.

    Leaving the iteration early abandons the shards in progress.

    Args:
      units: what to read.
      out: the folder that is being prepared.
      workers: how many processes; 1 is this process.
      watch: called periodically with the totals read so far.

    Raises:
      UserError: `out` cannot be written, or a worker was killed.
    """
    context = multiprocessing.get_context("spawn")  # ArrayRecord has threads, which a fork does not survive
    board: Any = _ThreadBoard() if workers == 1 else context.Value(_Board)
    pool: concurrent.futures.Executor
    if workers == 1:
        pool = concurrent.futures.ThreadPoolExecutor(1, initializer=_set_board, initargs=(board,))
    else:
        pool = concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (board,))
    waiting = collections.deque(enumerate(units))
    running: dict[concurrent.futures.Future[ShardResult], int] = {}
    try:
        while waiting or running:
            while waiting and len(running) < 2 * workers:
                index, unit = waiting.popleft()
                with hold_interrupts():
                    future = pool.submit(_make, unit, out)
                running[future] = index
            done, _ = concurrent.futures.wait(running, timeout=_POLL_S, return_when=concurrent.futures.FIRST_COMPLETED)
            watch(_read(board))
            for future in done:
                yield running.pop(future), future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "a worker was killed, perhaps because memory ran out: run the same command again with fewer --workers; "
            "finished shards are kept"
        ) from error
    finally:
        board.stop = True
        pool.shutdown(wait=True, cancel_futures=True)
        watch(_read(board))


def _read(board: Any) -> Step:
    return Step(records=board.records, masks=board.masks, drops=board.dropped, size=board.size)


def _set_board(board: Any) -> None:
    global _board
    _board = board


def _start_worker(board: Any) -> None:
    """Exit if the parent process has been killed."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    _set_board(board)


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """Workers started inside never see Ctrl-C, not while they start either: it is for the parent, which stops them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """End this process, a worker, when the parent process ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(unit: Unit, out: str) -> ShardResult:
    return make_shard(unit, out, advance=_advance)


def _advance(step: Step) -> None:
    with _board.get_lock():
        _board.records += step.records
        _board.masks += step.masks
        _board.dropped += step.drops
        _board.size += step.size
    if _board.stop:
        raise StoppedError
