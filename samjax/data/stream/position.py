"""How far a stream is, and what it met on the way."""

import dataclasses
import json
import zlib
from collections.abc import Mapping
from typing import Any

from samjax.core.errors import CorruptCheckpointError
from samjax.data.stream.example import DroppedRecord, Example, Fault

Counts = Mapping[str, int]
"""What a stream met so far, in all epochs and on this process alone: `records` read, used or not; those that were
`corrupt`, whose rows are empty; and the task's own counts by reason."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Position:
    """Where a stream is: the step says what comes next, the rest is an account of what came before."""

    step: int = 0
    """Batches handed out."""
    counts: Counts = dataclasses.field(default_factory=lambda: {"records": 0, "corrupt": 0})
    epoch: int = 0
    """The one that the last record counted was of."""
    seen_this_epoch: int = 0
    corrupt_this_epoch: int = 0

    def count(self, element: Example | DroppedRecord, *, epoch: int) -> "Position":
        """Return the position after `element`, the next record of this process, within a batch."""
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
        """Return this and what the stream is, as JSON with a checksum."""
        values = {**dataclasses.asdict(self), **identity}
        return json.dumps({**values, "crc32": _crc32(values)}, indent=1).encode()

    @staticmethod
    def from_json(state: bytes, *identity: str) -> tuple["Position", list[dict[str, Any]]]:
        """Return the position in `state`, and its parts named in `identity`.

        Raises:
          CorruptCheckpointError: it is not what was saved.
        """
        try:
            values = json.loads(state)
            if values.pop("crc32") != _crc32(values):
                raise ValueError("its checksum is another")
            parts = [dict(values.pop(name)) for name in identity]
            return Position(**{**values, "counts": dict(values["counts"])}), parts
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CorruptCheckpointError(f"the position in the data is damaged: {error!r}") from error


def summary(counts: Counts) -> str:
    """Return counts as a line: those of records always, others where there are any."""
    shown = {name: count for name, count in counts.items() if count or name in ("records", "corrupt")}
    return ", ".join(f"{name} {count:,}" for name, count in shown.items())


def _crc32(values: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())
