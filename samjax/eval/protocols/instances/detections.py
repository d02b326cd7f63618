"""Boxes to prompt with: those of a detector, or the annotations' own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samjax.data.annotations.annotation_json import is_number, is_whole, read_results
from samjax.data.annotations.dataset import Photo
from samjax.data.annotations.problems import Problems, quote
from samjax.scores.truth import Truth, is_box

OTHER_PHOTOS = "detections on images that are not in the annotations"
OTHER_CATEGORIES = "detections of unknown categories"
NO_BOXES = "detections whose box has no area in its photo"
NO_SCORES = "detections whose score is no number"
NO_OBJECTS = "objects whose box has no area in its photo"


@dataclass(frozen=True, kw_only=True)
class Detection:
    """A box on a photo."""

    category: int
    box: tuple[float, float, float, float]
    """As given: x, y, width, height in pixels of the photo."""
    score: float

    def corners(self, photo: Photo) -> tuple[float, float, float, float] | None:
        """Return (x0, y0, x1, y1) of what of the box is in the photo, None if that has no area."""
        x, y, width, height = self.box
        x0, y0 = max(x, 0.0), max(y, 0.0)
        x1, y1 = min(x + width, float(photo.width)), min(y + height, float(photo.height))
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None

    def result(self, photo: int) -> dict[str, Any]:
        """Return it as COCO's results JSON holds it, without box and mask."""
        return {"image_id": photo, "category_id": self.category, "score": self.score}


Detections = Mapping[int, Sequence[Detection]]
"""By photo, in the order given."""


def read_detections(
    path: str | Path, *, photos: Sequence[Photo], categories: Mapping[int, Any], allow_missing: bool
) -> tuple[Detections, dict[str, int]]:
    """Return a detector's boxes, as COCO's results JSON holds them, and how many are left out, by why.

    Raises:
      UserError: not such a JSON; or, all of it in one message and unless `allow_missing`, detections on other photos or
        of other categories, boxes without an area in their photo, scores that are no numbers.
    """
    expected = "image_id, category_id, bbox and score"
    content = read_results(Path(path).expanduser(), what="detections", expected=expected)
    there = {photo.id: photo for photo in photos}
    problems = Problems(str(path))
    found: dict[int, list[Detection]] = {}
    for place, one in enumerate(content):
        photo, category, box, score = (one.get(key) for key in ("image_id", "category_id", "bbox", "score"))
        if not _is_in(photo, there):
            problems.add(OTHER_PHOTOS, f"number {place}: image_id {quote(photo)}")
        elif not _is_in(category, categories):
            problems.add(OTHER_CATEGORIES, f"number {place}: category_id {quote(category)}")
        elif not is_number(score):
            problems.add(NO_SCORES, f"number {place}: score {quote(score)}")
        elif not is_box(box) or (made := _detection(category, box, score)).corners(there[photo]) is None:
            problems.add(NO_BOXES, f"number {place}: bbox {quote(box)}")
        else:
            found.setdefault(photo, []).append(made)
    return found, problems.settle(allow_missing=allow_missing)


def true_boxes(truth: Truth, photos: Sequence[Photo]) -> tuple[Detections, dict[str, int]]:
    """Return the boxes of all objects, crowds not among them, with score 1, and how many have none in their photo."""
    found: dict[int, list[Detection]] = {}
    left_out = 0
    for photo in photos:
        for one in truth.by_photo.get(photo.id, ()):
            if one["iscrowd"]:
                continue
            made = _detection(one["category_id"], one["bbox"], 1.0)
            if is_box(one["bbox"]) and made.corners(photo) is not None:
                found.setdefault(photo.id, []).append(made)
            else:
                left_out += 1
    return found, {NO_OBJECTS: left_out} if left_out else {}


def _is_in(value: Any, known: Mapping[int, Any]) -> bool:
    return is_whole(value) and value in known


def _detection(category: int, box: Sequence[float | int], score: float | int) -> Detection:
    x, y, width, height = map(float, box)
    return Detection(category=category, box=(x, y, width, height), score=float(score))
