"""How far a stream is, and what it met on the way."""

import dataclasses
import json
import zlib
from typing import Any

from samjax.core.errors import CorruptCheckpointError
from samjax.data.stream.example import Dropped, Example, Fault


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamCounts:
    """What a stream met so far, in all epochs and on this process alone."""

    records: int = 0
    """Read, used or not."""
    corrupt: int = 0
    """Their rows are empty: cannot be decoded."""
    without_masks: int = 0
    """Their rows are empty: no mask of theirs can be used."""
    masks: int = 0
    """Handed out."""
    masks_too_large: int = 0
    """Left out: above `max_area_fraction`."""
    masks_too_small: int = 0
    """Left out: below `min_area_fraction` or `min_area`."""
    masks_low_predicted_iou: int = 0
    """Left out: below `min_predicted_iou`."""
    masks_low_stability: int = 0
    """Left out: below `min_stability_score`."""
    masks_empty: int = 0
    """Left out: no pixel in the model's frame."""

    def count(self, element: Example | Dropped) -> "StreamCounts":
        """Return the counts after `element`."""
        corrupt = isinstance(element, Dropped) and element.fault is Fault.CORRUPT
        left_out = {f"masks_{reason}": count for reason, count in element.left_out._asdict().items()}
        more = {
            "records": 1,
            "corrupt": int(corrupt),
            "without_masks": int(isinstance(element, Dropped) and not corrupt),
            "masks": len(element.masks) if isinstance(element, Example) else 0,
            **left_out,
        }
        return StreamCounts(**{name: getattr(self, name) + count for name, count in more.items()})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a stream is: the step says what comes next, the rest is an account of what came before."""

    step: int = 0
    """Batches handed out."""
    counts: StreamCounts = StreamCounts()
    epoch: int = 0
    """The one that the last record counted was of."""
    seen_this_epoch: int = 0
    corrupt_this_epoch: int = 0

    def count(self, element: Example | Dropped, *, epoch: int) -> "Progress":
        """Return the progress after `element`, the next record of this process, within a batch."""
        corrupt = isinstance(element, Dropped) and element.fault is Fault.CORRUPT
        same = epoch == self.epoch
        return dataclasses.replace(
            self,
            counts=self.counts.count(element),
            epoch=epoch,
            seen_this_epoch=1 + (self.seen_this_epoch if same else 0),
            corrupt_this_epoch=corrupt + (self.corrupt_this_epoch if same else 0),
        )

    def next_step(self) -> "Progress":
        """Return the progress after the batch whose records were counted."""
        return dataclasses.replace(self, step=self.step + 1)

    def to_json(self, **identity: Any) -> bytes:
        """Return this and what the stream is, as JSON with a checksum."""
        values = {**dataclasses.asdict(self), **identity}
        return json.dumps({**values, "crc32": _crc32(values)}, indent=1).encode()

    @staticmethod
    def from_json(state: bytes, *identity: str) -> tuple["Progress", list[dict[str, Any]]]:
        """Return the progress in `state`, and its parts named in `identity`.

        Raises:
          CorruptCheckpointError: it is not what was saved.
        """
        try:
            values = json.loads(state)
            if values.pop("crc32") != _crc32(values):
                raise ValueError("its checksum is another")
            parts = [dict(values.pop(name)) for name in identity]
            return Progress(**{**values, "counts": StreamCounts(**values["counts"])}), parts
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CorruptCheckpointError(f"the position in the data is damaged: {error!r}") from error


def _crc32(values: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())
