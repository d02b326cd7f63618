"""Annotations of COCO and LVIS with the photos they are of, ready to be scored by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from samjax.eval.datasets.coco_json import UNANNOTATED, read_coco
from samjax.eval.datasets.dataset import Photo
from samjax.eval.datasets.images import ImageStore
from samjax.eval.datasets.problems import Problems
from samjax.eval.scores.truth import Truth


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """Photos in the order of their ids, and what predictions on them are scored by."""

    truth: Truth
    photos: Sequence[Photo]
    """All of them: on those without annotations every detection is false."""
    left_out: Mapping[str, int]
    notes: Sequence[str]

    @property
    def with_objects(self) -> list[Photo]:
        """The photos that have annotations."""
        return [photo for photo in self.photos if photo.instances]


def read_annotated(path: str | Path, *, images: ImageStore, allow_missing: bool) -> Annotated:
    """Read the annotations in `path`, whose photos are in `images`.

    Raises:
      UserError: as `read_coco`; and, unless `allow_missing`, boxes and areas that make no sense, for which those of the
        masks are taken.
    """
    read = read_coco(path, images=images, name=Path(path).stem, allow_missing=allow_missing)
    problems = Problems(str(path))
    truth = Truth.of(read.content, problems)
    left_out = {**read.dataset.left_out, **problems.settle(allow_missing=allow_missing)}
    without = left_out.pop(UNANNOTATED, 0)
    photos = sorted([*read.dataset.photos, *read.unannotated], key=lambda photo: photo.id)
    notes = [f"{without:,} of the photos have no annotations"] if without else []
    return Annotated(truth=truth, photos=photos, left_out=left_out, notes=notes)
