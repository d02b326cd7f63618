"""Masks of photos matched with their objects, whatever the category."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int8
from pycocotools import mask as coco

from samjax.data.annotations.dataset import Photo
from samjax.eval.cases import Overlap, PhotoCase
from samjax.eval.protocols.masks.predictions import ScoredMask
from samjax.scores.matching_loops import FALSE, TRUE
from samjax.scores.single_iou import PhotoOverlaps
from samjax.scores.truth import Truth

MASKS = "best masks"


@dataclass(frozen=True, kw_only=True)
class PhotoMasks:
    """A photo's masks and what they find."""

    photo: Photo
    masks: Sequence[ScoredMask]
    objects: int
    """That are to be found: crowds and ignored objects are not."""
    verdicts: Int8[np.ndarray, "k"]
    """See `PhotoOverlaps.judge`."""
    case: PhotoCase | None
    """Each object with the mask that overlaps it most; None of a photo without an object."""

    def figures(self) -> dict[str, Any]:
        """Return the photo's own figures, from 0 to 1; None of nothing."""
        hits, misses = int(np.sum(self.verdicts == TRUE)), int(np.sum(self.verdicts == FALSE))
        every = hits + misses + self.objects
        return {
            "objects": self.objects,
            "masks": len(self.masks),
            "hits": hits,
            "precision@50": hits / (hits + misses) if hits + misses else None,
            "recall@50": hits / self.objects if self.objects else None,
            "F1@50": 2 * hits / every if every else None,
            "mean IoU": None if self.case is None else self.case.mean(MASKS),
        }


def match_masks_of(photo: Photo, masks: Sequence[ScoredMask], truth: Truth) -> PhotoMasks:
    """Return what a photo's masks, by descending score, find of its objects in `truth`, which is class-agnostic."""
    objects = truth.by_photo.get(photo.id, ())
    overlaps = PhotoOverlaps.of([one.segmentation for one in masks], objects)
    return PhotoMasks(
        photo=photo,
        masks=masks,
        objects=overlaps.objects,
        verdicts=overlaps.judge(np.arange(len(masks))),
        case=_case(photo, masks, [one["segmentation"] for one in objects if not one["iscrowd"]]),
    )


def _case(photo: Photo, masks: Sequence[ScoredMask], objects: Sequence[Mapping[str, Any]]) -> PhotoCase | None:
    if not objects:
        return None
    best = [Overlap(iou=0.0, mask=None)] * len(objects)
    if masks:
        ious = np.asarray(coco.iou([one.segmentation for one in masks], list(objects), [0] * len(objects)))  # type: ignore[arg-type]
        best = [
            Overlap(iou=float(of_object.max()), mask=masks[int(of_object.argmax())].segmentation["counts"])
            for of_object in ious.T
        ]
    return PhotoCase(photo=photo, objects=[one["counts"] for one in objects], overlaps={MASKS: best})
