"""Boxes become masks, and masks are refined (Segment Anything, section 7.4 and appendix D.4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from samjax.data.masks import rle
from samjax.eval.prompt_groups import AT_ONCE, pad_group
from samjax.predict.promptable.predictor import Predictor

Corners = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class BoxMasks:
    """The masks of one box, as run lengths of the photo's size."""

    first: str
    """The candidate with the highest predicted IoU, of three."""
    second: str | None
    """What the model makes of the box and that mask together; None if it was not asked."""


def segment_boxes(
    predictor: Predictor,
    photos: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    boxes: Sequence[Sequence[Corners]],
    *,
    refine: bool,
) -> list[list[BoxMasks]]:
    """Return the masks of the boxes, x0, y0, x1, y1 in pixels, of each of some photos; each has one at least.

    The photos are encoded together, over the predictor's mesh.
    """
    predictor.set_images(photos)
    found: list[list[BoxMasks]] = [[] for _ in photos]
    for start in range(0, max(map(len, boxes)), AT_ONCE):
        parts = [of_photo[start : start + AT_ONCE] for of_photo in boxes]
        # A photo whose boxes are all done waits for the others with the ones it began with.
        shown = [pad_group(part or of_photo[:1]) for part, of_photo in zip(parts, boxes, strict=True)]
        for masks, part, more in zip(found, parts, _segment(predictor, shown, refine=refine), strict=True):
            masks.extend(more[: len(part)])
    return found


def _segment(predictor: Predictor, boxes: Sequence[Sequence[Corners]], *, refine: bool) -> list[list[BoxMasks]]:
    answers = predictor.predict_each(boxes=boxes)
    trusted = [np.argmax(answer.iou, axis=1) for answer in answers]
    once = [
        [rle.encode(masks[k])["counts"] for masks, k in zip(answer.masks, best, strict=True)]
        for answer, best in zip(answers, trusted, strict=True)
    ]
    if not refine:
        return [[BoxMasks(first=one, second=None) for one in of_photo] for of_photo in once]
    logits = [answer.logits[np.arange(len(best)), best] for answer, best in zip(answers, trusted, strict=True)]
    refined = predictor.predict_each(boxes=boxes, mask_logits=logits, multimask=False)
    return [
        [
            BoxMasks(first=before, second=rle.encode(masks[0])["counts"])
            for before, masks in zip(of_photo, answer.masks, strict=True)
        ]
        for of_photo, answer in zip(once, refined, strict=True)
    ]
