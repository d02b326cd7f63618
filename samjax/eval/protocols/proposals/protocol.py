"""Everything found on photos, ranked and matched with their objects (Segment Anything, section 7.3, appendix D.3)."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samjax.core.files import write_whole
from samjax.core.ranges import Count, config_class
from samjax.data.annotations.dataset import Photo
from samjax.eval.evaluation_folder import EvaluationFolder
from samjax.eval.photo_reading import photo_key, read_photos
from samjax.predict.automatic.generator import GeneratedMask, MaskGenerator
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.scores.recall import PhotoMatches, match_photo
from samjax.scores.truth import Truth

_LIMITS = (10, 100)


@config_class("")
class ProposalConfig:
    """What is proposed; the defaults are the paper's."""

    generator: GeneratorConfig
    """How masks are found."""
    most: Count = 1000
    """Proposals of a photo, those with the highest mean of predicted IoU and stability."""

    @property
    def limits(self) -> tuple[int, ...]:
        """Most proposals that recall is counted with, ascending."""
        return (*(limit for limit in _LIMITS if limit < self.most), self.most)


def paper_generator(**changes) -> GeneratorConfig:
    """Return the paper's: 64 x 64 points, suppression at 0.9, no filter; `changes` to any field."""
    given = {
        "points_per_side": 64,
        "box_nms_threshold": 0.9,
        "pred_iou_threshold": 0.0,
        "stability_threshold": 0.0,
        **changes,
    }
    return GeneratorConfig(**given)


@dataclass(frozen=True, kw_only=True)
class PhotoProposals:
    """What was found on one photo."""

    proposals: int
    matches: PhotoMatches
    best: Sequence[str | None]
    """The proposal of each of `matches.best`, as run lengths."""

    @classmethod
    def from_json(cls, said: dict[str, Any]) -> "PhotoProposals":
        """Return what `propose` recorded."""
        return cls(proposals=said["proposals"], matches=PhotoMatches.from_json(said["matches"]), best=said["best"])


def rank(masks: Sequence[GeneratedMask], *, most: int) -> list[GeneratedMask]:
    """Return the masks by descending mean of predicted IoU and stability, the first `most` of them."""
    return sorted(masks, key=_score, reverse=True)[:most]


def _score(mask: GeneratedMask) -> float:
    return (mask.predicted_iou + mask.stability_score) / 2


def propose(
    generator: MaskGenerator,
    truth: Truth,
    photos: Sequence[Photo],
    folder: EvaluationFolder,
    *,
    config: ProposalConfig,
    allow_missing: bool,
    written: Path | None,
    watch: Callable[[int], None],
) -> None:
    """Find, match and record the proposals of all photos that `folder` does not have, a batch of them at a time.

    Of the masks those alone are recorded that overlap an object most: a thousand a photo would be gigabytes.

    Args:
      written: folder to write all proposals to, a COCO results JSON for each photo, if not None.
      watch: told how many photos are done, whenever some are.

    Raises:
      UserError: a photo cannot be read, and `allow_missing` is not given.
    """
    todo = [photo for photo in photos if photo_key(photo) not in folder]
    watch(len(photos) - len(todo))
    for start in range(0, len(todo), generator.batch_size):
        part = todo[start : start + generator.batch_size]
        there = list(read_photos(part, folder, allow_missing=allow_missing))
        for (photo, _), masks in zip(there, generator.generate([pixels for _, pixels in there]), strict=True):
            ranked = rank(masks, most=config.most)
            if written is not None:
                _write(written, photo, ranked)
            counts = [mask.segmentation for mask in ranked]
            matches = match_photo(truth, photo.id, counts, limits=config.limits)
            best = [None if place is None else counts[place]["counts"] for *_, place in matches.best]
            folder.record(photo_key(photo), {"proposals": len(ranked), "matches": matches.to_json(), "best": best})
        watch(len(part))


def _write(folder: Path, photo: Photo, ranked: Sequence[GeneratedMask]) -> None:
    folder.mkdir(exist_ok=True)
    content = [
        {"image_id": photo.id, "category_id": 1, "segmentation": mask.segmentation, "score": _score(mask)}
        for mask in ranked
    ]
    write_whole(folder / f"{photo.id}.json", json.dumps(content, separators=(",", ":")))
