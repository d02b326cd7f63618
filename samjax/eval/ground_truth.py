"""Annotations of COCO and LVIS with the photos they are of, ready to be scored by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from samjax.core.errors import UserError
from samjax.data.annotations.coco_json import UNANNOTATED, read_coco
from samjax.data.annotations.dataset import Photo
from samjax.data.annotations.images import ImageStore
from samjax.data.annotations.problems import Problems
from samjax.data.annotations.progress import Progress, no_progress
from samjax.scores.truth import Truth


@dataclass(frozen=True, kw_only=True)
class AnnotatedPhotos:
    """Photos in the order of their ids, and what predictions on them are scored by."""

    truth: Truth
    photos: Sequence[Photo]
    """All of them: on those without annotations every detection is false."""
    left_out: Mapping[str, int]
    notes: Sequence[str]

    def first(self, limit: int | None, *, annotated: bool = False) -> list[Photo]:
        """Return the first `limit` photos, all if that is None; where `annotated`, of those that have annotations.

        Raises:
          UserError: none of them has an object that is no crowd: there is nothing to score by.
        """
        photos = [photo for photo in self.photos if photo.instances or not annotated][:limit]
        if not any(not one["iscrowd"] for photo in photos for one in self.truth.by_photo.get(photo.id, ())):
            way_out = "give other annotations" if limit is None else "give a larger --limit"
            raise UserError(f"none of the {len(photos):,} photos to evaluate has an object to score by: {way_out}")
        return photos


def read_annotated_photos(
    path: str | Path,
    *,
    images: ImageStore,
    allow_missing: bool,
    allow_unannotated: bool = False,
    progress: Progress = no_progress,
) -> AnnotatedPhotos:
    """Read the annotations in `path`, whose photos are in `images`.

    Raises:
      UserError: as `read_coco`; LVIS's annotations without what its rules need; no photo with annotations; and, unless
        `allow_missing`, boxes and areas that make no sense, for which those of the masks are taken.
    """
    read = read_coco(
        path,
        images=images,
        name=Path(path).stem,
        allow_missing=allow_missing,
        allow_unannotated=allow_unannotated,
        progress=progress,
    )
    if not read.dataset.photos:
        counts = "; ".join(f"{count:,} {kind}" for kind, count in read.dataset.left_out.items())
        raise UserError(f"{path} has no photo with an annotation that can be used ({counts or 'it lists none'})")
    problems = Problems(str(path))
    try:
        truth = Truth.of(read.content, problems)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    left_out = {**read.dataset.left_out, **problems.settle(allow_missing=allow_missing)}
    without = left_out.pop(UNANNOTATED, 0)
    photos = sorted([*read.dataset.photos, *read.without_annotations], key=lambda photo: photo.id)
    notes = [f"{without:,} of the photos have no annotations"] if without else []
    return AnnotatedPhotos(truth=truth, photos=photos, left_out=left_out, notes=notes)
