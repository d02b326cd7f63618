"""Random access to ArrayRecord files, with a bounded number of open readers."""

import collections
import concurrent.futures
import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from samjax.core.errors import MachineError
from samjax.core.machine_faults import machine_fault, open_file_limit
from samjax.data.records.masks import RecordError

_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"  # access is random
_BUFFER_BYTES = 32_768
_FEWEST_OPEN = 8
_COUNTING_THREADS = 16
_PAUSE_S = 1.0


class ShardError(Exception):
    """An ArrayRecord file that is missing or damaged; the message says why."""


def open_reader(path: str, *, options: str = _OPTIONS) -> Any:
    """Return an open ArrayRecordReader; it closes when the last reference is gone.

    Raises:
      MachineError: the machine cannot open it, for example without a free file descriptor.
      ShardError: it is missing or damaged.
    """
    try:
        reader = array_record_module.ArrayRecordReader(
            os.fsencode(path), options=options, file_reader_buffer_size=_BUFFER_BYTES
        )
        if not reader.ok():
            reader.close()  # raises why
            raise ShardError("it cannot be opened")
    except Exception as error:  # ArrayRecord raises C++ statuses as several types
        raise _told(path, error) from error
    return reader


def count_records(paths: Sequence[str]) -> list[int | ShardError]:
    """Return how many records each file holds, or why it cannot be opened.

    Raises:
      MachineError: see `open_reader`.
    """

    def count(path: str) -> int | ShardError:
        try:
            return open_reader(path).num_records()
        except ShardError as error:
            return error

    with concurrent.futures.ThreadPoolExecutor(_COUNTING_THREADS) as threads:
        return list(threads.map(count, paths))


class Shards:
    """ArrayRecord files, of which the most recently used readers stay open."""

    def __init__(self, paths: Sequence[str]):
        self.paths = tuple(paths)

    def read(self, shard: int, position: int) -> bytes:
        """Return a record of the file `paths[shard]`; retries once if the machine fails.

        Raises:
          MachineError: the machine fails again.
          RecordError: the file is missing, or damaged there.
        """
        try:
            return self._read(shard, position)
        except MachineError:
            _OPEN.close()
            time.sleep(_PAUSE_S)
            return self._read(shard, position)

    def _read(self, shard: int, position: int) -> bytes:
        path = self.paths[shard]
        try:
            reader = _OPEN.reader(self, path)
            try:
                return reader.read([position])[0]
            except Exception as error:
                raise _told(path, error) from error
        except ShardError as error:
            raise RecordError(f"cannot be read from its shard: {error}") from error


class _OpenReaders:
    """The most recently used readers of all `Shards` in this process: at most half as many as it may have open
    files."""

    def __init__(self):
        self._readers: collections.OrderedDict[tuple[int, str], Any] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._gone: collections.deque[int] = (
            collections.deque()
        )  # queue of owners; a finalizer must not wait for the lock

    def reader(self, owner: Shards, path: str) -> Any:
        """Return a reader of the file at `path`, as it was when `owner` first read from it."""
        key = (id(owner), path)
        with self._lock:
            while self._gone:
                self._forget(self._gone.popleft())
            if key in self._readers:
                self._readers.move_to_end(key)
                return self._readers[key]
        reader = open_reader(path)  # outside the lock: other threads go on
        with self._lock:
            if not any(number == id(owner) for number, _ in self._readers):
                weakref.finalize(owner, self._gone.append, id(owner))
            self._readers[key] = reader
            while len(self._readers) > max(_FEWEST_OPEN, open_file_limit() // 2):
                self._readers.popitem(last=False)  # it closes when the thread that is reading from it is done
        return reader

    def close(self) -> None:
        """Drop all readers."""
        with self._lock:
            self._readers.clear()

    def _forget(self, owner: int) -> None:
        for key in [key for key in self._readers if key[0] == owner]:
            del self._readers[key]


_OPEN = _OpenReaders()


def _told(path: str, error: Exception) -> MachineError | ShardError:
    if isinstance(error, ShardError):
        return error
    if fault := machine_fault(error):
        return MachineError(f"{path} cannot be read ({fault})")
    detail = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ShardError(detail[:200])
