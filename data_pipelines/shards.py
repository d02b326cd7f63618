"""Converts a unit of the source to one ArrayRecord shard, with a result beside it.

Both are in the out folder's work folder, named by the unit's key. The result appears after the shard, so where it
exists the shard is complete. Every runner calls `make_shard`, so that all write the same.
"""

import collections
import dataclasses
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from data_pipelines.dataset_kinds import EncodedRecord
from data_pipelines.pairs import Drop, SourceError, Stray
from data_pipelines.storage import WORK, Folder
from data_pipelines.units import Unit
from samjax.core.errors import MachineError, UserError
from samjax.core.machine_faults import machine_fault
from samjax.core.text import printable
from samjax.data.stream.readers import count_records

log = logging.getLogger(__name__)

LISTED_DROPS = 1_000
"""How many dropped records of a unit to log one by one; more are only counted."""
_KEPT = "finished shards are kept"
_OPTIONS = "group_size:1"  # as TFDS writes: every record is found without decoding its neighbours


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardResult:
    """The outcome of a unit."""

    path: str
    """The unit's."""
    key: str
    fingerprint: str
    error: str = ""
    """Why the unit could not be read to its end; then there is no shard."""
    read: int = 0
    """Records read, used or not."""
    records: int = 0
    """Written."""
    masks: int = 0
    """Written."""
    area: int = 0
    """Of all masks written, pixels."""
    without_masks: int = 0
    """Photos written that have no mask."""
    empty_masks: int = 0
    """Masks excluded because they have no pixel."""
    ignored_members: int = 0
    """No part of a record."""
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    """Records not written, by kind of fault."""
    drops: tuple[Drop, ...] = ()
    """The first of them."""
    ids: tuple[int, ...] = ()
    """Image ids in the order of the records."""
    changes: dict[str, int] = dataclasses.field(default_factory=dict)
    """Photos that were re-encoded, by reason; one may have several."""
    settings: str = ""
    """What the user chose of how photos are written, the unit's."""
    split: str = ""
    """The split that the records go to; empty where the preparation has one only."""
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)
    """What of the source is in no unit, by kind, counted at its first unit."""
    size: int = 0
    """Of the shard, bytes."""
    sha256: str = ""
    """Of the shard."""

    def to_json(self) -> bytes:
        """Return what `from_json` reads."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "ShardResult":
        """Return the result written in `text`."""
        fields = json.loads(text)
        drops = tuple(Drop(**drop) for drop in fields.pop("drops"))
        return cls(**{**fields, "drops": drops, "ids": tuple(fields.pop("ids"))})


class StoppedError(Exception):
    """The run is stopping; the shard in progress is abandoned."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """The contribution of one record, for progress displays."""

    records: int = 0
    masks: int = 0
    drops: int = 0
    size: int = 0
    """Bytes read."""


def make_shard(unit: Unit, out: str, *, advance: Callable[[Step], None] = lambda step: None) -> ShardResult:
    """Write the shard of `unit`, and its result, into the work folder of `out`; return the result.

    A unit that cannot be read to its end gives a result with an error, and no shard.

    Args:
      unit: what to read.
      out: the folder that is being prepared.
      advance: called after every record; what it raises ends the work.

    Raises:
      UserError, MachineError: the shard cannot be written, as on a full disk.
    """
    folder = Folder(out)
    tally = _Tally(unit, advance)
    try:
        with folder.temporary(f"{WORK}/{shard_name(unit.key)}") as path:
            write_records(path, tally.encode())
            result = tally.result(path)
        folder.write(f"{WORK}/{result_name(unit.key)}", result.to_json())
    except SourceError as error:
        result = ShardResult(
            path=unit.path,
            key=unit.key,
            fingerprint=unit.fingerprint,
            error=str(error)[:500],
            settings=unit.settings,
        )
        folder.write(f"{WORK}/{result_name(unit.key)}", result.to_json())
    except (OSError, MemoryError) as error:
        raise cannot_write(out, error) from error
    return result


def shard_name(key: str) -> str:
    """Return the temporary name of the shard of the unit with `key`."""
    return f"{key}.array_record"


def result_name(key: str) -> str:
    """Return the name of the result beside it."""
    return f"{key}.json"


def cannot_write(out: str, error: Exception) -> UserError | MachineError:
    """Return the error message for a failed write to `out`."""
    if fault := machine_fault(error):
        return MachineError(f"{out} cannot be written ({fault}); then run the same command again: {_KEPT}")
    detail = (getattr(error, "strerror", None) or str(error)).splitlines()[0]
    return UserError(
        f"{out} cannot be written ({detail}): make room or allow it, then run the same command again; {_KEPT}"
    )


def write_records(path: Path, encoded: Iterable[bytes]) -> int:
    """Write an ArrayRecord file and return how many records it holds.

    Raises:
      OSError: it cannot be written whole. ArrayRecord writes behind its caller's back and tells when it is closed.
    """
    count = 0
    writer = None
    try:
        writer = _open_writer(path)
        for record in encoded:
            writer.write(record)
            count += 1
            if not writer.ok():
                break
    finally:
        if writer is not None:
            _close(writer)
    (found,) = count_records([str(path)])
    if found != count:
        raise OSError(f"{path.name} holds {found} of {count} records")
    return count


def _open_writer(path: Path) -> Any:
    try:
        return array_record_module.ArrayRecordWriter(os.fsencode(path), _OPTIONS)
    except RuntimeError as error:
        raise OSError(str(error)) from error


def _close(writer: Any) -> None:
    try:
        writer.close()
    except Exception as error:  # ArrayRecord passes C++ status on as several types
        raise OSError(str(error)) from error


class _Tally:
    """Reads a unit, and counts what it held."""

    def __init__(self, unit: Unit, advance: Callable[[Step], None]):
        self._unit = unit
        self._advance = advance
        self._read = self._masks = self._area = self._without_masks = self._empty_masks = 0
        self._strays = unit.strays
        self._ids: dict[int, None] = {}
        self._changes: collections.Counter[str] = collections.Counter()
        self._dropped: collections.Counter[str] = collections.Counter()
        self._drops: list[Drop] = []

    def encode(self) -> Iterator[bytes]:
        """Yield the records that can be used, as bytes."""
        for item in self._unit.records():
            if isinstance(item, Stray):
                self._strays += 1
                log.info("%s: not %s, ignored.", printable(item.where), self._unit.expectation)
                continue
            self._read += 1
            record = self._first_of_its_id(item) if isinstance(item, EncodedRecord) else item
            if isinstance(record, Drop):
                self._dropped[record.kind] += 1
                if len(self._drops) < LISTED_DROPS:
                    self._drops.append(record)
                self._advance(Step(drops=1))
                continue
            self._ids[record.image_id] = None
            self._masks += record.counts.masks
            self._area += record.counts.area
            self._without_masks += record.counts.without_masks
            self._empty_masks += record.empty_masks
            self._changes.update(record.changes)
            yield record.data
            self._advance(Step(records=1, masks=record.counts.masks, size=record.size))

    def _first_of_its_id(self, record: EncodedRecord) -> EncodedRecord | Drop:
        return duplicate(record.where, image_id=record.image_id) if record.image_id in self._ids else record

    def result(self, path: Path) -> ShardResult:
        """Return the counts, with the shard's digest."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ShardResult(
            path=self._unit.path,
            key=self._unit.key,
            fingerprint=self._unit.fingerprint,
            read=self._read,
            records=len(self._ids),
            masks=self._masks,
            area=self._area,
            without_masks=self._without_masks,
            empty_masks=self._empty_masks,
            ignored_members=self._strays,
            dropped=dict(self._dropped),
            drops=tuple(self._drops),
            ids=tuple(self._ids),
            changes=dict(self._changes),
            settings=self._unit.settings,
            split=self._unit.split,
            left_out=dict(self._unit.left_out),
            size=path.stat().st_size,
            sha256=digest,
        )


def duplicate(where: str, *, image_id: int) -> Drop:
    """Return the drop of a record whose image id came before."""
    return Drop(where=where, kind="duplicate", detail=f"image_id {image_id} was seen before")
