"""`annotate/events.jsonl`: one line for each act of a person, on disk before anything else happens."""

import contextlib
import enum
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samjax.annotate.refusals import NotSavedError
from samjax.core.errors import UserError
from samjax.core.files import sync, sync_open, tell_write_errors

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
    IMPORT = "import"
    """A photo got the masks that another folder has of it."""
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
    """A person passed a photo on; with `judged`, after they had judged its masks in the mode VERIFY."""
    NOTE = "note"
    """Anything else that the page tells: undo, strokes, milliseconds of a decode."""


_DETAILS = {
    Act.ADD: {"mask"},
    Act.CHANGE: {"mask"},
    Act.DELETE: {"uuid", "revision"},
    Act.ACCEPT: {"masks", "numbers"},
    Act.IMPORT: {"masks"},
    Act.PROPOSE: {"count", "mean_iou"},
    Act.STATE: {"proposal", "state"},
    Act.VERDICT: {"verdict"},
}
"""What an event of each act has at least."""
_CHANGING = frozenset({Act.ADD, Act.CHANGE, Act.DELETE, Act.ACCEPT, Act.IMPORT, Act.VERDICT, Act.DONE})


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

    @property
    def changes_photo(self) -> bool:
        """Whether the act changes the photo's JSON. A proposal's state does if it deletes a mask."""
        return self.act in _CHANGING or (self.act is Act.STATE and "uuid" in self.details)

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
    act = Act(known["act"])
    if lacking := _DETAILS.get(act, set()) - content.keys():
        raise ValueError(f"no {', '.join(lacking)}")
    return Event(**known | {"act": act, "time": float(known["time"] or 0)}, details=content)


def read_events(path: Path) -> Iterator[Event]:
    """Yield the whole events of a log that a server may be writing; a line without an end is not one yet.

    Raises:
      UserError: there is no such log, it cannot be read, or a line that is followed by others is damaged.
    """
    for event, _ in _read(path):
        yield event


class EventLog:
    """The events of an annotation folder, appended and synced one at a time. Safe to use from several threads."""

    def __init__(
        self, path: Path, *, watchers: Sequence[Callable[[Event], None]] = (), now: Callable[[], float] = time.time
    ):
        """Open the log, new or not. A last line that a kill or a power cut left torn is cut off.

        Call it with the folder's lock held.

        Args:
          watchers: called with each event that is there already, and with each that is published.
          now: the time of new events, in seconds since 1970.

        Raises:
          UserError: a line that is followed by others is damaged, or the file cannot be read or written.
        """
        self.path = path
        self.lock = threading.RLock()
        """Held while an event is appended and what it announces is done; whoever needs both to agree takes it too."""
        self._watchers = tuple(watchers)
        self._now = now
        self._failed = False
        self._last = self._end = 0
        if path.exists():
            for event, end in _read(path):
                self._last, self._end = event.number, end
                self.publish(event)
        with tell_write_errors(path):
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115
            self.torn_bytes = self._file.tell() - self._end
            """Bytes of a torn last line that were cut off."""
            if self.torn_bytes:
                log.warning("%s: its last line was torn by a kill, %d bytes are cut off", path, self.torn_bytes)
                self._cut()
            sync(path.parent)

    @property
    def last_number(self) -> int:
        """Of the last event, 0 if there is none."""
        return self._last

    def record(self, act: Act, *, photo: int | None = None, annotator: str | None = None, **details: Any) -> Event:
        """Append an event and publish it.

        Raises:
          NotSavedError: as `append`.
        """
        with self.lock:
            event = self.append(act, photo=photo, annotator=annotator, **details)
            self.publish(event)
            return event

    def append(self, act: Act, *, photo: int | None = None, annotator: str | None = None, **details: Any) -> Event:
        """Append an event, and return it once it is on disk. `publish` it when what it announces is done.

        Raises:
          NotSavedError: it cannot be written; the log is as before.
        """
        with self.lock:
            if self._failed:
                raise NotSavedError(f"{self.path} could not be repaired after a failed write: start the server again")
            event = Event(
                number=self._last + 1,
                time=round(self._now(), 3),
                act=act,
                photo=photo,
                annotator=annotator,
                details=json.loads(json.dumps(details, allow_nan=False)),  # what a replay would read
            )
            line = event.line()
            try:
                left = memoryview(line)
                while left:
                    left = left[self._file.write(left) :]
                sync_open(self._file, folder=self.path.parent)
            except BaseException as error:
                self._cut()
                if isinstance(error, OSError):
                    reason = error.strerror or error
                    raise NotSavedError(f"{self.path} cannot be written ({reason}): make room there") from error
                raise
            self._before = (self._last, self._end)
            self._last, self._end = event.number, self._end + len(line)
            return event

    def withdraw(self, event: Event) -> None:
        """Remove the event that was appended last, for what it announces could not be done.

        If the disk fails at that too, the log takes no more events: a replay finds an act that nobody was told of.
        """
        with self.lock:
            if event.number != self._last or self._before[0] == self._last:
                raise ValueError(f"event {event.number} is not the one that was appended last, {self._last}")
            self._last, self._end = self._before
            self._cut()

    def publish(self, event: Event) -> None:
        """Tell the watchers."""
        for watcher in self._watchers:
            watcher(event)

    def close(self) -> None:
        """Close the file; all events are on disk already."""
        with contextlib.suppress(OSError):
            self._file.close()

    def _cut(self) -> None:
        """Cut off what follows the last whole event; where the disk refuses, take no more."""
        try:
            os.ftruncate(self._file.fileno(), self._end)
            sync_open(self._file, folder=self.path.parent)
        except OSError:
            self._failed = True


def _read(path: Path) -> Iterator[tuple[Event, int]]:
    """Yield each whole event, and where its line ends."""
    end = last = 0
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    return
                try:
                    event = parse_event(line)
                    if event.number <= last:
                        raise ValueError("numbers do not rise")
                except (ValueError, TypeError):
                    if end + len(line) >= size:  # a power cut leaves anything in the last block
                        return
                    raise UserError(
                        f"{path}, line {number} is damaged: restore it from a copy, or give another --out"
                    ) from None
                end, last = end + len(line), event.number
                yield event, end
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error})") from error
