"""Annotations as COCO and LVIS write them: one JSON file for all photos."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from samjax.core.errors import UserError
from samjax.data.annotations.annotation_json import file_name, flag, index_by_id, is_whole, label, read_lists, whole
from samjax.data.annotations.coco_masks import parse_mask
from samjax.data.annotations.dataset import Dataset, Instance, Photo
from samjax.data.annotations.images import ImageStore
from samjax.data.annotations.pairing import find_photos, is_of_size
from samjax.data.annotations.problems import Problems, quote
from samjax.data.annotations.progress import Progress, no_progress

UNANNOTATED = "images without annotations"
DROPPED = "parts of outlines with fewer than three corners"
_OF_2014 = re.compile(r"COCO_\w+2014_(?=\d+\.jpg$)")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class CocoJson:
    """A data set and the JSON it was read from, without what was left out: for libraries that score by it."""

    dataset: Dataset
    content: dict[str, Any]
    """`images`, `annotations` and `categories` as in the file, segmentations as compressed run lengths."""
    without_annotations: Sequence[Photo] = ()
    """Photos without annotations, by their ids: all that is detected on them is false."""
    unusable_ids: frozenset[int] = frozenset()
    """The ids of photos in `without_annotations` that the file does annotate, but with nothing that can be used."""


def read_coco(
    path: str | Path,
    *,
    images: ImageStore,
    name: str,
    allow_missing: bool = False,
    allow_unannotated: bool = False,
    progress: Progress = no_progress,
) -> CocoJson:
    """Read the annotations in `path`, whose photos are in `images`.

    Polygons become run lengths by COCO's own rule. Photos without annotations stay in `content`, where a false
    detection counts, and are in `without_annotations`: not in the data set's photos.

    Raises:
      UserError: not such a JSON; or, all of it in one message and unless `allow_missing`, photos that are missing, of
        several images, or of another size than the file says, annotations of unknown photos or categories, masks that
        are none or of another size, ids that are given twice; unless `allow_unannotated`, photos without annotations.
    """
    path = Path(path).expanduser()
    content = read_lists(path)
    problems = Problems(str(path))
    categories = index_by_id(content["categories"], path)
    listed = _find_images(content["images"], images, path=path, problems=problems, progress=progress)
    known = {image["id"] for image in content["images"]}

    kept: dict[int, dict[str, Any]] = {}
    given: set[int] = set()
    for annotation in _watch(content["annotations"], "annotations", progress):
        if "segments_info" in annotation:  # COCO's own panoptic annotations have no id
            raise UserError(f"{path} is in COCO's panoptic format: give --format panoptic")
        number = whole(annotation, "id", path)
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if not is_whole(image) or image not in known:
            problems.add("annotations of images that are not in the file", f"id {number}: image_id {quote(image)}")
            continue
        if image not in listed:
            continue  # told with its photo
        given.add(image)
        if not is_whole(category) or category not in categories:
            problems.add("annotations of unknown categories", f"id {number}: category_id {quote(category)}")
        elif number in kept:
            problems.add("annotations whose id is given twice", number)
        elif (checked := _check(annotation, listed[image].image, problems)) is not None:
            kept[number] = checked
    annotated = {annotation["image_id"] for annotation in kept.values()}
    for number in sorted(set(listed) - annotated):
        problems.add_empty(UNANNOTATED, number)
    left_out = problems.settle(allow_missing=allow_missing, allow_unannotated=allow_unannotated)
    dataset_photos = _photos(listed, kept.values(), images)
    dataset = Dataset(
        name=name,
        photos=[photo for photo in dataset_photos if photo.instances],
        categories={number: label(category) for number, category in categories.items()},
        left_out=left_out,
    )
    content = {**content, "images": [one.image for one in listed.values()], "annotations": list(kept.values())}
    unannotated = [photo for photo in dataset_photos if not photo.instances]
    unusable = frozenset(given - annotated)
    return CocoJson(dataset=dataset, content=content, without_annotations=unannotated, unusable_ids=unusable)


class _Found(NamedTuple):
    """An image of the file whose photo is there, and what the store calls that."""

    image: dict[str, Any]
    photo: str


def _find_images(
    given: list[dict[str, Any]], images: ImageStore, *, path: Path, problems: Problems, progress: Progress
) -> dict[int, _Found]:
    """Return the images of the file whose photo is there and of their size, by their ids."""
    by_number: dict[int, dict[str, Any]] = {}
    differ: set[int] = set()
    for image in given:
        number = whole(image, "id", path)
        for side in ("height", "width"):
            whole(image, side, path)
        first = by_number.setdefault(number, image)
        if first is not image:
            names = f"{file_name(first, path)} and {file_name(image, path)}"
            problems.add("images whose id is given twice", f"{number}: {names}")
            if first != image:  # which of them an annotation is of is not known
                differ.add(number)
    wanted = {number: photo_names(image, path) for number, image in by_number.items() if number not in differ}
    found = find_photos(images, wanted, problems=problems)
    return {
        number: _Found(by_number[number], photo)
        for number, photo in _watch(list(found.items()), "photos", progress)
        if is_of_size(images, photo, _size(by_number[number]), problems=problems)
    }


def photo_names(image: dict[str, Any], path: str | Path) -> list[str]:
    """Return the names that the image's photo may have: LVIS v0.5 calls photos of 2017 as they were called in 2014."""
    name = file_name(image, path)
    return list(dict.fromkeys([name, _OF_2014.sub("", name)]))


def _size(image: Mapping[str, Any]) -> tuple[int, int]:
    return image["height"], image["width"]


def _check(annotation: dict[str, Any], image: dict[str, Any], problems: Problems) -> dict[str, Any] | None:
    """Return the annotation with its mask as compressed run lengths, None if that is told as a problem."""
    number = annotation["id"]
    for key in ("iscrowd", "ignore"):
        try:
            flag(annotation, key)
        except ValueError as error:
            problems.add(f"annotations whose {key} is neither 0 nor 1", f"id {number}: {error}")
            return None
    if "segmentation" not in annotation:
        problems.add("annotations whose mask cannot be used", f"id {number}: it has no segmentation")
        return None
    try:
        mask = parse_mask(annotation["segmentation"], height=image["height"], width=image["width"])
    except (ValueError, OverflowError) as error:
        problems.add("annotations whose mask cannot be used", f"id {number}: {error}")
        return None
    if mask.dropped_parts:
        problems.count(DROPPED, mask.dropped_parts)
    return {**annotation, "segmentation": mask.segmentation}


def _photos(listed: Mapping[int, _Found], annotations: Iterable[dict[str, Any]], images: ImageStore) -> list[Photo]:
    """Return the photos in the order of their ids."""
    instances: dict[int, list[Instance]] = {}
    for one in annotations:
        made = Instance(
            id=one["id"], segmentation=one["segmentation"], category=one["category_id"], crowd=flag(one, "iscrowd")
        )
        instances.setdefault(one["image_id"], []).append(made)
    photos = []
    for number, (image, photo) in sorted(listed.items(), key=lambda one: one[0]):
        name, (height, width) = file_name(image, ""), _size(image)
        photos.append(
            Photo(
                id=number,
                name=PurePosixPath(name if name == photo else name.replace("\\", "/")).name,
                path=photo,
                height=height,
                width=width,
                instances=tuple(instances.get(number, ())),
                read=images.reader(photo, height=height, width=width),
            )
        )
    return photos


def _watch(those: Sequence[T], what: str, progress: Progress) -> Iterator[T]:
    with progress(what, total=len(those)) as watch:
        for one in those:
            yield one
            watch(1)
