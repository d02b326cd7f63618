"""How far a stream is, and what it met on the way."""

import dataclasses

from samjax.data.pipeline import Dropped, Example, Fault


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamCounts:
    """What a stream met so far, in all epochs and on this process alone."""

    records: int = 0
    """Read, used or not."""
    corrupt: int = 0
    """Skipped: cannot be decoded."""
    without_masks: int = 0
    """Skipped: no mask of theirs can be used."""
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a stream is: its whole state."""

    position: int = 0
    """Records read of this process's part of the global order."""
    counts: StreamCounts = StreamCounts()
    seen_this_epoch: int = 0
    corrupt_this_epoch: int = 0

    def count(self, element: Example | Dropped, *, first_of_epoch: bool) -> "Progress":
        """Return the progress after `element`."""
        corrupt = isinstance(element, Dropped) and element.fault is Fault.CORRUPT
        counts = self.counts
        return Progress(
            position=self.position + 1,
            counts=StreamCounts(
                records=counts.records + 1,
                corrupt=counts.corrupt + corrupt,
                without_masks=counts.without_masks + (isinstance(element, Dropped) and not corrupt),
                masks=counts.masks + (len(element.masks) if isinstance(element, Example) else 0),
                **{
                    f"masks_{reason}": getattr(counts, f"masks_{reason}") + left_out
                    for reason, left_out in element.left_out._asdict().items()
                },
            ),
            seen_this_epoch=1 + (0 if first_of_epoch else self.seen_this_epoch),
            corrupt_this_epoch=corrupt + (0 if first_of_epoch else self.corrupt_this_epoch),
        )
