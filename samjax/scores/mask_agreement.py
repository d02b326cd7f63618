"""How much masks changed when people corrected them: IoU of each before and after (Segment Anything, section 5)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from pycocotools import mask as coco

from samjax.data.masks.mask_uuid import generated_uuid

THRESHOLDS = (0.90, 0.75)
"""The paper's: of SA-1B's masks 94% and 97% are above them."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Masks of some photos before and after correction."""

    ious: Float64[np.ndarray, "pairs"]
    """Of masks that are in both."""
    deletions: int
    """Masks that were there before alone."""
    additions: int
    """Masks that are there after alone."""
    waiting: int = 0
    """Masks in both that are no pair yet: nobody has judged or changed them, or somebody says they must be redone."""

    def share_above(self, threshold: float) -> float | None:
        """Return the share of pairs whose IoU is above `threshold`, None without a pair."""
        return float((self.ious > threshold).mean()) if len(self.ious) else None

    def to_json(self) -> dict[str, Any]:
        """Return its figures as JSON."""
        has_pairs = len(self.ious) > 0
        return {
            "pairs": len(self.ious),
            **{f"above_{threshold:.2f}": self.share_above(threshold) for threshold in THRESHOLDS},
            "mean_iou": float(self.ious.mean()) if has_pairs else None,
            "median_iou": float(np.median(self.ious)) if has_pairs else None,
            "unchanged": int((self.ious == 1).sum()),
            "deleted": self.deletions,
            "added": self.additions,
            "waiting": self.waiting,
        }


def compare_masks(
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    *,
    photo: int,
    is_finished: bool = False,
) -> Agreement:
    """Return how masks of one photo agree.

    A mask is the same after as before if it has the same `uuid`; one without a `uuid` before has that of a generated
    mask at its place, which a proposal keeps when it is accepted. A mask without a `uuid` after is found by its `id`.

    Args:
      before: SA-1B's annotations of the photo, whose `segmentation` is sound and of the photo's size.
      after: the same, corrected.
      photo: its id.
      is_finished: whether a person says that the photo is done: then none of its masks waits for a verdict.
    """
    by_uuid = {_uuid(one, photo, place): place for place, one in enumerate(before)}
    by_id = {one.get("id"): place for place, one in enumerate(before)}
    pairs: dict[int, int] = {}
    for place, one in enumerate(after):
        found = by_uuid.get(one["uuid"]) if one.get("uuid") is not None else by_id.get(one.get("id"))
        if found is not None:
            pairs.setdefault(found, place)
    ready = [pair for pair in sorted(pairs.items()) if is_finished or not _waits(after[pair[1]])]
    return Agreement(
        ious=np.array([_iou(before[first], after[second]) for first, second in ready], np.float64),
        deletions=len(before) - len(pairs),
        additions=len(after) - len(pairs),
        waiting=len(pairs) - len(ready),
    )


def join(agreements: Iterable[Agreement]) -> Agreement:
    """Return the agreement of several photos together."""
    parts = list(agreements)
    return Agreement(
        ious=np.concatenate([np.zeros(0), *(part.ious for part in parts)]),
        deletions=sum(part.deletions for part in parts),
        additions=sum(part.additions for part in parts),
        waiting=sum(part.waiting for part in parts),
    )


def _waits(annotation: Mapping[str, Any]) -> bool:
    """Return whether a mask of `samjax annotate --masks` still has to be judged, or drawn again."""
    verdict = annotation.get("verdict")
    return verdict == "redo" or (verdict is None and annotation.get("imported") is True)


def _uuid(annotation: Mapping[str, Any], photo: int, place: int) -> str:
    return annotation.get("uuid") or generated_uuid(photo, place, annotation["segmentation"]["counts"])


def _iou(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    one, other = [dict(first["segmentation"])], [dict(second["segmentation"])]
    (row,) = np.asarray(coco.iou(one, other, [0]))  # type: ignore[arg-type]
    return float(row[0])
