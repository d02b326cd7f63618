"""Two folders in SA-1B's layout, of masks before and after people corrected them, compared photo by photo."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.data.annotations.annotation_json import is_whole, read_json
from samjax.data.masks.rle import RleError, parse_runs
from samjax.scores.mask_agreement import THRESHOLDS, Agreement, compare_masks, join


@dataclass(frozen=True, kw_only=True)
class FolderAgreement:
    """How two folders agree."""

    agreement: Agreement
    photos: int
    """In both."""
    before_alone: int
    """Photos that were not corrected, or lost."""
    after_alone: int

    def text(self) -> str:
        """Return it for people."""
        found = self.agreement
        shares = ", ".join(f"{found.share_above(one):.1%} above {one:.2f} IoU" for one in THRESHOLDS)
        figures = found.to_json()
        unchanged = figures["unchanged"] / len(found.ious)
        lines = [
            f"{len(found.ious):,} pairs of masks in {self.photos:,} photos: {shares}",
            f"  mean IoU {figures['mean_iou']:.3f}, median {figures['median_iou']:.3f}; {unchanged:.1%} unchanged; "
            f"{found.deletions:,} masks deleted, {found.additions:,} added",
        ]
        if found.waiting:
            lines.append(f"  {found.waiting:,} masks wait for a verdict or to be drawn again, and are not counted")
        if self.before_alone:
            lines.append(f"  {self.before_alone:,} photos are not in the second folder, and are not counted")
        if self.after_alone:
            lines.append(f"  {self.after_alone:,} photos are in the second folder alone, and are not counted")
        return "\n".join(lines)

    def to_json(self) -> str:
        """Return it as JSON."""
        photos = {"photos": self.photos, "before_alone": self.before_alone, "after_alone": self.after_alone}
        return json.dumps({**photos, **self.agreement.to_json()}, indent=1) + "\n"


def compare_folders(
    before: str | Path, after: str | Path, *, watch: Callable[[], None] = lambda: None
) -> FolderAgreement:
    """Return how the masks in two folders agree; `watch` is called after each photo.

    Photos are matched by `image_id`, masks as `samjax.scores.mask_agreement.compare_masks` says.

    Raises:
      UserError: a folder holds no `sa_<id>.json`, or one that is damaged; they have no photo or no mask in common.
    """
    first, second = _files(Path(before)), _files(Path(after))
    common = sorted(set(first) & set(second))
    if not common:
        raise UserError(
            f"{before} and {after} have no photo in common: give the folder that was corrected and the result"
        )
    parts = []
    for photo in common:
        (image, masks), (other, corrected) = (_masks(files[photo], photo) for files in (first, second))
        size, other_size = ([one["height"], one["width"]] for one in (image, other))
        if size != other_size:
            shown = " x ".join(map(str, other_size))
            raise UserError(f"{second[photo]} is of {shown} pixels, and {first[photo]} of {size[0]} x {size[1]}")
        is_finished = other.get("done_by") is not None
        parts.append(compare_masks(masks, corrected, photo=photo, is_finished=is_finished))
        watch()
    agreement = join(parts)
    if agreement.waiting and not len(agreement.ious):
        raise UserError(
            f"nobody has judged or changed any of the {agreement.waiting:,} masks in {after} that are in both"
        )
    if not len(agreement.ious):
        raise UserError(
            f"{before} and {after} have no mask in common, by uuid or id: {agreement.deletions:,} are in the first "
            f"alone and {agreement.additions:,} in the second"
        )
    return FolderAgreement(
        agreement=agreement,
        photos=len(common),
        before_alone=len(set(first) - set(second)),
        after_alone=len(set(second) - set(first)),
    )


def _files(folder: Path) -> dict[int, Path]:
    """Return the JSON of each photo, by the id in its name."""
    found = {}
    for path in sorted(folder.expanduser().glob("sa_*.json")):
        if (number := path.stem.removeprefix("sa_")).isdecimal():
            found[int(number)] = path
    if not found:
        raise UserError(f"{folder} holds no sa_<id>.json: give a folder in SA-1B's layout")
    return found


def _masks(path: Path, photo: int) -> tuple[dict[str, Any], Sequence[dict[str, Any]]]:
    """Return what a JSON says of its photo, with `height` and `width`, and its annotations, whose runs fill it.

    Raises:
      UserError: they do not, or it is no such JSON.
    """
    content = read_json(path)
    image = content.get("image") if isinstance(content, dict) else None
    annotations = content.get("annotations") if isinstance(content, dict) else None
    if not isinstance(image, dict) or not isinstance(annotations, list) or image.get("image_id") != photo:
        raise UserError(
            f"{path} is not SA-1B's JSON of photo {photo}: it needs that image_id and a list of annotations"
        )
    height, width = image.get("height"), image.get("width")
    if not is_whole(height) or not is_whole(width):
        raise UserError(f"{path} has no height and width of its photo: restore it")
    for place, one in enumerate(annotations):
        segmentation = one.get("segmentation") if isinstance(one, dict) else None
        if not isinstance(segmentation, dict) or segmentation.get("size") != [height, width]:
            raise UserError(f"{path}, annotation {place}: its segmentation is not of the photo's size")
        if not isinstance(segmentation.get("counts"), str) or not isinstance(one.get("uuid"), str | None):
            raise UserError(f"{path}, annotation {place}: its counts or its uuid is no text")
        try:
            parse_runs(segmentation["counts"], height=height, width=width)
        except RleError as error:
            raise UserError(f"{path}, annotation {place}: {error}") from error
    return image, annotations
