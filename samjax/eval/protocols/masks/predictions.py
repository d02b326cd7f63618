"""Masks to score: COCO's results JSON, or the folder that `samjax generate` writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from samjax.core.errors import UserError
from samjax.data.annotations.annotation_json import is_number, is_whole, read_json, read_results
from samjax.data.annotations.coco_masks import parse_mask
from samjax.data.annotations.dataset import Photo
from samjax.data.annotations.problems import Problems, quote
from samjax.scores.truth import ANY

OTHER_PHOTOS = "masks on images that are not in the annotations"
OTHER_SOURCES = "files whose photo is not in the annotations"
AMBIGUOUS = "files whose photo may be one of several"
NO_MASKS = "masks that cannot be used"
NO_SCORES = "masks whose score is no number"
NOT_GENERATED = "photos that masks were not generated for"


@dataclass(frozen=True, kw_only=True)
class ScoredMask:
    """A mask as compressed run lengths of its photo's size, and the confidence in it."""

    segmentation: Mapping[str, Any]
    score: float

    def result(self, photo: int) -> dict[str, Any]:
        """Return it as COCO's results JSON holds it."""
        return {"image_id": photo, "category_id": ANY, "segmentation": self.segmentation, "score": self.score}


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Masks by photo, by descending score, and what is left out, by why."""

    masks: Mapping[int, Sequence[ScoredMask]]
    """Of each photo to score: of those that have none, an empty list."""
    left_out: Mapping[str, int]


def read_predictions(
    path: str | Path, photos: Sequence[Photo], *, among: Sequence[Photo], allow_missing: bool
) -> Predictions:
    """Return the masks in `path` of `photos`.

    A results JSON lists masks of any photos of `among`, and a photo that it does not list has none. In a folder of
    `samjax generate` each photo has a file: without one it is no photo to score. There the score is the predicted IoU.

    Args:
      photos: those to score.
      among: all of the annotations.

    Raises:
      UserError: neither of the two; or, all of it in one message and unless `allow_missing`, masks on other photos,
        masks that are none or of another size, scores that are no numbers, photos that masks were not generated for.
    """
    place = Path(path).expanduser()
    problems = Problems(str(path))
    if place.is_dir():
        found, without = _of_folder(place, among, problems)
        for photo in photos:
            if photo.id in without:
                problems.add(NOT_GENERATED, photo.name)
        wanted = [photo for photo in photos if photo.id not in without]
    else:
        found, wanted = _of_results(place, among, problems), photos
    left_out = problems.settle(allow_missing=allow_missing)
    masks = {photo.id: sorted(found.get(photo.id, []), key=lambda one: -one.score) for photo in wanted}
    return Predictions(masks=masks, left_out=left_out)


def _of_results(path: Path, among: Sequence[Photo], problems: Problems) -> dict[int, list[ScoredMask]]:
    expected = "image_id, segmentation and score, or a folder that samjax generate wrote"
    content = read_results(path, what="masks", expected=expected)
    known = {photo.id: photo for photo in among}
    found: dict[int, list[ScoredMask]] = {}
    for place, one in enumerate(content):
        photo = one.get("image_id")
        if not is_whole(photo) or photo not in known:
            problems.add(OTHER_PHOTOS, f"number {place}: image_id {quote(photo)}")
            continue
        mask = _mask(one.get("segmentation"), one.get("score"), known[photo], f"number {place}", problems)
        if mask is not None:
            found.setdefault(photo, []).append(mask)
    return found


def _of_folder(
    folder: Path, among: Sequence[Photo], problems: Problems
) -> tuple[dict[int, list[ScoredMask]], set[int]]:
    """Return the masks by photo, and the photos that have no file."""
    files = sorted(folder.glob("sa_*.json"))
    if not files:
        raise UserError(
            f"{folder} holds no sa_*.json: give a folder that samjax generate wrote, or COCO's results JSON"
        )
    by_name: dict[str, list[Photo]] = {}
    for photo in among:
        by_name.setdefault(PurePath(photo.path or photo.name).name, []).append(photo)
    found: dict[int, list[ScoredMask]] = {}
    for file in files:
        source, annotations = _described(file)
        those = _of_source(source, by_name.get(source.name, []))
        if len(those) != 1:
            problems.add(OTHER_SOURCES if not those else AMBIGUOUS, f"{file.name}: {source}")
            continue
        masks = found.setdefault(those[0].id, [])
        for place, one in enumerate(annotations):
            which = f"{file.name}, annotation {place}"
            mask = _mask(one.get("segmentation"), one.get("predicted_iou"), those[0], which, problems)
            if mask is not None:
                masks.append(mask)
    return found, {photo.id for photo in among} - set(found)


def _described(file: Path) -> tuple[PurePath, list[dict[str, Any]]]:
    """Return the photo that a file's masks are of, and the masks."""
    content = read_json(file)
    image = content.get("image") if isinstance(content, dict) else None
    annotations = content.get("annotations") if isinstance(content, dict) else None
    if (
        not isinstance(image, dict)
        or not isinstance(annotations, list)
        or not all(isinstance(one, dict) for one in annotations)
    ):
        raise UserError(f"{file} is not as samjax generate writes it: it needs an image and a list of annotations")
    source = image.get("source") or image.get("file_name")
    if not isinstance(source, str):
        raise UserError(f"{file} does not say which photo its masks are of: its image needs a source or a file_name")
    return PurePath(source), annotations


def _of_source(source: PurePath, namesakes: Sequence[Photo]) -> list[Photo]:
    """Return which photos of one name the file at `source` may be: those that share the most folders with it."""

    def shared(photo: Photo) -> int:
        pairs = zip(reversed(source.parts), reversed(PurePath(photo.path or photo.name).parts), strict=False)
        return next((n for n, (one, other) in enumerate(pairs) if one != other), len(PurePath(photo.path).parts))

    most = max(map(shared, namesakes), default=0)
    return [photo for photo in namesakes if shared(photo) == most]


def _mask(segmentation: Any, score: Any, photo: Photo, which: str, problems: Problems) -> ScoredMask | None:
    """Return the mask, None if that is told as a problem."""
    if not is_number(score):
        problems.add(NO_SCORES, f"{which}: {quote(score)}")
        return None
    try:
        mask = parse_mask(segmentation, height=photo.height, width=photo.width)
    except (ValueError, OverflowError) as error:
        problems.add(NO_MASKS, f"{which}: {error}")
        return None
    return ScoredMask(segmentation=mask.segmentation, score=float(score))
