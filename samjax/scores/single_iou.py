"""Average precision and F1 at one IoU, class-agnostic, for searches that score many choices among the same masks.

Overlaps of all masks are computed once; to score some of them then takes microseconds a photo. Equal to pycocotools at
that IoU, with `useCats` 0 and no limit on the masks of a photo.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, Int8, Int64
from pycocotools import mask as coco

from samjax.scores.matching_loops import FALSE, IGNORED, TRUE, match_masks
from samjax.scores.truth import NO_SIZE

IOU = 0.5
"""From which on a mask is of an object."""
_RECALLS = np.linspace(0.0, 1.0, 101)
_TINY = np.spacing(1)


@dataclass(frozen=True, kw_only=True)
class PhotoOverlaps:
    """Which of n masks overlap which of m objects of their photo by `IOU` or more: `first[i]` to `first[i + 1]` of
    `object` and `iou` are those of mask i."""

    first: Int64[np.ndarray, "_"]
    object: Int64[np.ndarray, "p"]
    iou: Float64[np.ndarray, "p"]
    optional: Bool[np.ndarray, "m"]
    """Objects that need not be found; they come last."""
    crowd: Bool[np.ndarray, "m"]

    @classmethod
    def of(cls, masks: Sequence[Mapping[str, Any]], objects: Sequence[Mapping[str, Any]]) -> "PhotoOverlaps":
        """Return the overlaps of `masks`, compressed run lengths, with a photo's `objects`, see `Truth.by_photo`."""
        ignored = np.array([bool(one["iscrowd"]) or one["area"] == NO_SIZE for one in objects], bool)
        order = np.argsort(ignored, kind="stable")
        objects = [objects[place] for place in order]
        crowd = np.array([bool(one["iscrowd"]) for one in objects], bool)
        iou = np.zeros((len(masks), len(objects)))
        if masks and objects:
            flags = crowd.astype(int).tolist()
            iou = np.asarray(coco.iou(list(masks), [one["segmentation"] for one in objects], flags))  # type: ignore[arg-type]
        mask, place = np.nonzero(iou >= IOU)
        first = np.searchsorted(mask, np.arange(len(masks) + 1))
        return cls(first=first, object=place, iou=iou[mask, place], optional=ignored[order], crowd=crowd)

    @classmethod
    def join(cls, parts: Sequence["PhotoOverlaps"]) -> "PhotoOverlaps":
        """Return those of several lists of masks with the same objects, one list after the other."""
        starts = np.cumsum([0, *(len(part.object) for part in parts)])
        first = [part.first[:-1] + start for part, start in zip(parts, starts[:-1], strict=True)]
        return cls(
            first=np.concatenate([*first, starts[-1:]]),
            object=np.concatenate([part.object for part in parts]),
            iou=np.concatenate([part.iou for part in parts]),
            optional=parts[0].optional,
            crowd=parts[0].crowd,
        )

    @property
    def objects(self) -> int:
        """How many objects are to be found."""
        return int(np.count_nonzero(~self.optional))

    def judge(self, masks: Int[np.ndarray, "k"]) -> Int8[np.ndarray, "k"]:
        """Return of each of `masks`, indices by descending score, whether it is TRUE, FALSE or IGNORED.

        Each in turn takes the object that it overlaps most of those that no mask before it has taken.
        """
        verdicts = np.empty(len(masks), np.int8)
        match_masks(masks, self.first, self.object, self.iou, self.optional, self.crowd, verdicts)
        return verdicts


@dataclass(frozen=True, kw_only=True)
class MaskScore:
    """How well masks find objects at an IoU of `IOU`, from 0 to 1."""

    ap50: float
    f1: float
    """Of all masks, whatever their scores."""
    precision: float
    recall: float
    masks: int

    @classmethod
    def of(
        cls,
        verdicts: Sequence[Int8[np.ndarray, "_"]],
        scores: Sequence[Float[np.ndarray, "_"]],
        *,
        objects: int,
    ) -> "MaskScore":
        """Return the score of the masks of some photos together.

        Args:
          verdicts: of each photo's masks, see `PhotoOverlaps.judge`.
          scores: of each photo's masks, descending: their confidence.
          objects: how many are to be found on all photos, at least one.
        """
        verdict, score = np.concatenate(verdicts), np.concatenate(scores)
        verdict = verdict[np.argsort(-score, kind="stable")]
        count = len(verdict)
        verdict = verdict[verdict != IGNORED]
        found, wrong = np.cumsum(verdict == TRUE), np.cumsum(verdict == FALSE)
        hits, misses = (int(found[-1]), int(wrong[-1])) if len(verdict) else (0, 0)
        precision = found / (found + wrong + _TINY)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        places = np.searchsorted(found / objects, _RECALLS, side="left")
        reached = np.append(envelope, 0.0)[places]
        return cls(
            ap50=float(reached.mean()),
            f1=2 * hits / (hits + misses + objects),
            precision=hits / (hits + misses) if hits + misses else 0.0,
            recall=hits / objects,
            masks=count,
        )
