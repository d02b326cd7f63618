"""The protocol over photos, a few at a time, so that it can stop at any moment and resume later."""

from collections.abc import Callable, Sequence
from typing import Any

from samjax.data.annotations.dataset import Photo
from samjax.eval.evaluation_folder import EvaluationFolder
from samjax.eval.photo_reading import photo_key, read_photos
from samjax.eval.protocols.instances.detections import Detections
from samjax.eval.protocols.instances.segmenting import segment_boxes
from samjax.predict.promptable.predictor import Predictor

ONCE, REFINED = "once", "refined"


def segment_photos(
    predictor: Predictor,
    photos: Sequence[Photo],
    detections: Detections,
    folder: EvaluationFolder,
    *,
    refine: bool,
    at_once: int,
    allow_missing: bool,
    watch: Callable[[int], None],
) -> None:
    """Make and record the masks of all photos' boxes that `folder` does not have, `at_once` photos at a time.

    `watch` is told how many photos are done, whenever some are.

    Raises:
      UserError: a photo cannot be read, and `allow_missing` is not given.
    """
    todo = [photo for photo in photos if photo_key(photo) not in folder]
    watch(len(photos) - len(todo))
    without = [photo for photo in todo if not detections.get(photo.id)]
    for photo in without:
        folder.record(photo_key(photo), {ONCE: [], **({REFINED: []} if refine else {})})
    watch(len(without))
    todo = [photo for photo in todo if detections.get(photo.id)]
    for start in range(0, len(todo), at_once):
        part = todo[start : start + at_once]
        there = list(read_photos(part, folder, allow_missing=allow_missing))
        if there:
            boxes = [[_corners(one, photo) for one in detections[photo.id]] for photo, _ in there]
            masks = segment_boxes(predictor, [pixels for _, pixels in there], boxes, refine=refine)
            for (photo, _), of_photo in zip(there, masks, strict=True):
                record: dict[str, list[str | None]] = {ONCE: [one.first for one in of_photo]}
                if refine:
                    record[REFINED] = [one.second for one in of_photo]
                folder.record(photo_key(photo), record)
        watch(len(part))


def mask_results(
    photos: Sequence[Photo], detections: Detections, folder: EvaluationFolder, *, which: str
) -> list[dict[str, Any]]:
    """Return the masks of ONCE or REFINED, all of them recorded, as COCO's results JSON holds them."""
    return [
        {**one.result(photo.id), "segmentation": {"size": [photo.height, photo.width], "counts": counts}}
        for photo in photos
        if photo.id in detections
        for one, counts in zip(detections[photo.id], folder[photo_key(photo)][which], strict=True)
    ]


def box_results(photos: Sequence[Photo], detections: Detections) -> list[dict[str, Any]]:
    """Return the boxes as COCO's results JSON holds them."""
    return [{**one.result(photo.id), "bbox": list(one.box)} for photo in photos for one in detections.get(photo.id, ())]


def _corners(detection, photo: Photo) -> tuple[float, float, float, float]:
    corners = detection.corners(photo)
    assert corners is not None  # others were left out when they were read
    return corners
