"""A stream's position and its counts."""

import dataclasses
import json
import zlib
from collections.abc import Mapping
from typing import Any

from samjax.core.errors import CorruptCheckpointError
from samjax.data.stream.example import DroppedRecord, Example, Fault

Counts = Mapping[str, int]
"""What a stream has met so far, over all epochs, on this process only: `records` read, used or not; `corrupt` records,
whose rows are empty; and the task's own counts by reason."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Position:
    """Where a stream is: the step determines what comes next, the rest counts what came before."""

    step: int = 0
    """Batches handed out."""
    counts: Counts = dataclasses.field(default_factory=lambda: {"records": 0, "corrupt": 0})
    epoch: int = 0
    """The epoch of the last counted record."""
    seen_this_epoch: int = 0
    corrupt_this_epoch: int = 0

    def count(self, element: Example | DroppedRecord, *, epoch: int) -> "Position":
        """Return the position after `element`, this process's next record, within a batch."""
        corrupt = isinstance(element, DroppedRecord) and element.fault is Fault.CORRUPT
        more = {"records": 1, "corrupt": int(corrupt), **element.counts}
        same = epoch == self.epoch
        return dataclasses.replace(
            self,
            counts={**self.counts, **{name: self.counts.get(name, 0) + count for name, count in more.items()}},
            epoch=epoch,
            seen_this_epoch=1 + (self.seen_this_epoch if same else 0),
            corrupt_this_epoch=corrupt + (self.corrupt_this_epoch if same else 0),
        )

    def next_step(self) -> "Position":
        """Return the position after the batch whose records were counted."""
        return dataclasses.replace(self, step=self.step + 1)

    def to_json(self, **identity: Any) -> bytes:
        """Return this position and the stream's identity, as JSON with a checksum."""
        values = {**dataclasses.asdict(self), **identity}
        return json.dumps({**values, "crc32": _crc32(values)}, indent=1).encode()

    @staticmethod
    def from_json(state: bytes, *identity: str) -> tuple["Position", list[dict[str, Any]]]:
        """Return the position in `state`, and the stream's identity with it.

        Raises:
          CorruptCheckpointError: it is not what was saved.
        """
        try:
            values = json.loads(state)
            if values.pop("crc32") != _crc32(values):
                raise ValueError("its checksum does not match")
            parts = [dict(values.pop(name)) for name in identity]
            return Position(**{**values, "counts": dict(values["counts"])}), parts
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CorruptCheckpointError(f"the position in the data is damaged: {error!r}") from error


def summary(counts: Counts) -> str:
    """Return counts as a line: always those of records, others if not zero."""
    shown = {name: count for name, count in counts.items() if count or name in ("records", "corrupt")}
    return ", ".join(f"{name} {count:,}" for name, count in shown.items())


def _crc32(values: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())
