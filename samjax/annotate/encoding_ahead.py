"""The next photos of each annotator, encoded while they work on the ones before."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from samjax.annotate.embedding_store import EmbeddingStore
from samjax.annotate.photo_encoding import PhotoSource
from samjax.core.errors import MachineError, UserError
from samjax.core.text import printable

log = logging.getLogger(__name__)

_MOST_FAULTS = 3
"""Faults of the machine in a row after which nothing more is encoded ahead."""


@runtime_checkable
class Worker(Protocol):
    """What encodes photos, one at a time."""

    def __call__(self, key: bytes, jpeg: bytes, /) -> None:
        """Put a photo's embedding into the store: of the photo's key and its JPEG.

        Raises:
          UserError: the photo cannot be decoded, or the embedding cannot be written.
          MachineError: the machine fails.
        """
        ...

    def close(self) -> None:
        """Give up the photo under way, and take no more."""
        ...


@dataclass(frozen=True, kw_only=True)
class EncodingStatus:
    """What the encoding of photos is doing."""

    waiting: int
    """Photos to encode that somebody has open."""
    ahead: int
    """Photos to encode before somebody opens them."""
    new: int
    """Photos encoded since the server was started."""
    failures: int
    fault: str | None
    """The last failure, a sentence."""
    is_ahead: bool
    """Whether photos are encoded ahead; not after several faults of the machine in a row."""


class EncodingAhead:
    """Gives photos to a worker, one at a time: those that somebody waits for, then each annotator's next ones in turn.

    Threads may share it; `close` it, and with it the worker, at the end.

    Args:
      worker: it is called on one thread.
      on_ready: called with the id and the key of each photo whose embedding is in the store.
      on_failure: called with the id of a photo that somebody waits for and that cannot be encoded, and the error.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        photos: PhotoSource,
        store: EmbeddingStore,
        on_ready: Callable[[int, bytes], None],
        on_failure: Callable[[int, Exception], None],
    ):
        self._worker, self._photos, self._store = worker, photos, store
        self._on_ready, self._on_failure = on_ready, on_failure
        self._wake = threading.Condition()
        self._waiting: dict[int, None] = {}
        self._ahead: OrderedDict[str, list[int]] = OrderedDict()
        self._new, self._failures, self._faults_in_a_row = 0, 0, 0
        self._fault: str | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="encoding", daemon=True)
        self._thread.start()

    def first(self, photo_id: int) -> None:
        """Encode a photo that somebody waits for before all that nobody waits for."""
        with self._wake:
            self._waiting.setdefault(photo_id)
            self._wake.notify()

    def set_next(self, annotator: str, photo_ids: Sequence[int]) -> None:
        """Encode these photos for an annotator, in this order, when nobody waits; they replace the annotator's last."""
        with self._wake:
            is_new = annotator not in self._ahead
            self._ahead[annotator] = list(photo_ids)
            if is_new:
                self._ahead.move_to_end(annotator, last=False)  # has had no turn yet
            self._wake.notify()

    def status(self) -> EncodingStatus:
        """Return what it is doing."""
        with self._wake:
            return EncodingStatus(
                waiting=len(self._waiting),
                ahead=len({photo_id for ids in self._ahead.values() for photo_id in ids}),
                new=self._new,
                failures=self._failures,
                fault=self._fault,
                is_ahead=self._is_ahead(),
            )

    def stop(self) -> None:
        """Take no more photos, and give up the one under way."""
        with self._wake:
            self._is_closed = True
            self._wake.notify()
        self._worker.close()

    def close(self) -> None:
        """`stop`, and wait until nothing is under way."""
        self.stop()
        self._thread.join()

    def _is_ahead(self) -> bool:
        return self._faults_in_a_row < _MOST_FAULTS

    def _next(self) -> int | None:
        """Return the next photo, when there is one; None at the end."""
        with self._wake:
            while not self._is_closed:
                if self._waiting:
                    return next(iter(self._waiting))
                for annotator, ids in self._ahead.items() if self._is_ahead() else ():
                    if ids:
                        self._ahead.move_to_end(annotator)  # the others' turn comes before the next of this one
                        return ids.pop(0)
                    del self._ahead[annotator]
                    break
                else:
                    self._wake.wait()
        return None

    def _run(self) -> None:
        while (photo_id := self._next()) is not None:
            try:
                key, is_new = self._encode(photo_id)
            except Exception as error:
                self._fail(photo_id, error)
                continue
            with self._wake:
                self._waiting.pop(photo_id, None)
                self._new += is_new
                if is_new:
                    self._faults_in_a_row = 0
            self._on_ready(photo_id, key)

    def _encode(self, photo_id: int) -> tuple[bytes, bool]:
        """Return the photo's key, once its embedding is in the store, and whether it was not there before."""
        jpeg = self._photos.jpeg(photo_id)
        key = self._store.key(jpeg)
        if self._store.holds(key):
            return key, False
        self._worker(key, jpeg)
        return key, True

    def _fail(self, photo_id: int, error: Exception) -> None:
        is_foreseen = isinstance(error, UserError | MachineError)
        with self._wake:
            if self._is_closed:
                return
            is_waiting = photo_id in self._waiting
            self._waiting.pop(photo_id, None)
            self._failures += 1
            self._fault = f"photo {photo_id} cannot be encoded: {error if is_foreseen else repr(error)}"
            if not isinstance(error, UserError):
                self._faults_in_a_row += 1
        log.warning("%s", printable(self._fault), exc_info=None if is_foreseen else error)
        if self._faults_in_a_row == _MOST_FAULTS:
            log.warning("after %d such faults photos are encoded only when somebody opens them", _MOST_FAULTS)
        if is_waiting:
            self._on_failure(photo_id, error)
