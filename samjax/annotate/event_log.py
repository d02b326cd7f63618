"""`annotate/events.jsonl`: one line for each act of a person, on disk before anything else happens."""

import enum
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from samjax.annotate.refusals import NotSavedError
from samjax.core.errors import UserError
from samjax.core.files import sync, sync_open
from samjax.core.text import printable

log = logging.getLogger(__name__)

_FIELDS = ("number", "time", "act", "photo", "annotator")


class Act(enum.Enum):
    """What an event says was done."""

    START = "start"
    """A server opened the folder."""
    ADD = "add"
    """A mask was committed, or a deleted one restored."""
    CHANGE = "change"
    DELETE = "delete"
    ACCEPT = "accept"
    """Proposals became masks."""
    PROPOSE = "propose"
    """A photo got its proposals."""
    STATE = "state"
    """Proposals were rejected, reopened, or replaced by another mask."""
    VERDICT = "verdict"
    DONE = "done"
    LEASE = "lease"
    EXPIRE = "expire"
    RELEASE = "release"
    SKIP = "skip"
    NOTE = "note"
    """Anything else that the page tells: undo, strokes, milliseconds of a decode."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """A line of the log."""

    number: int
    """From 1, each one above the one before."""
    time: float
    """Seconds since 1970, to milliseconds."""
    act: Act
    photo: int | None = None
    annotator: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    """What else the act consists of, as JSON: see `PhotoState.after` and `Leases`."""

    def line(self) -> bytes:
        """Return it as a line of the file."""
        known = {name: getattr(self, name) for name in _FIELDS} | {"act": self.act.value}
        content = {name: value for name, value in known.items() if value is not None} | dict(self.details)
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def parse_event(line: bytes) -> Event:
    """Return the event in a line.

    Raises:
      ValueError: it is none.
    """
    content = json.loads(line)
    if not isinstance(content, dict) or type(content.get("number")) is not int:
        raise ValueError("no event")
    known = {name: content.pop(name, None) for name in _FIELDS}
    return Event(**known | {"act": Act(known["act"]), "time": float(known["time"] or 0)}, details=content)


def read_events(path: Path) -> Iterator[Event]:
    """Yield the whole events of a log that a server may be writing; a line without an end is not one yet.

    Raises:
      UserError: a line that is followed by others is damaged.
    """
    for event, _ in _read(path):
        yield event


class EventLog:
    """The events of an annotation folder, appended and synced one at a time. Safe to use from several threads."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time):
        """Open the log, new or not. A last line that a kill or a power cut left torn is cut off.

        Call it with the folder's lock held.

        Args:
          now: the time of new events, in seconds since 1970.

        Raises:
          UserError: a line that is followed by others is damaged, or the file cannot be written.
        """
        self.path = path
        self._now = now
        self._lock = threading.RLock()
        self._failed = False
        self._last, self._end = 0, 0
        self.torn_bytes = 0
        """Bytes of a torn last line that were cut off."""
        self._file = self._open()

    def append(self, act: Act, *, photo: int | None = None, annotator: str | None = None, **details: Any) -> Event:
        """Append an event, and return it once it is on disk.

        Raises:
          NotSavedError: it cannot be written; the log is as before.
        """
        raise NotImplementedError

    def withdraw(self, event: Event) -> None:
        """Remove the last event again, for what it announces could not be done.

        Raises:
          NotSavedError: the disk fails, and the log takes no more events.
        """
        raise NotImplementedError

    def _open(self) -> BinaryIO:
        raise NotImplementedError


def _read(path: Path) -> Iterator[tuple[Event, int]]:
    """Yield each event and where its line ends."""
    raise NotImplementedError
