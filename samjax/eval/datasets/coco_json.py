"""Annotations as COCO and LVIS write them: one JSON file for all photos."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco

from samjax.core.errors import UserError
from samjax.data import rle
from samjax.eval.datasets.dataset import Dataset, Instance, Photo
from samjax.eval.datasets.images import ImageStore
from samjax.eval.datasets.pairing import is_of_size
from samjax.eval.datasets.problems import Problems

_MOST_BYTES = 4 * 2**30  # LVIS v1's training annotations are 1.2 GB
UNANNOTATED = "images without annotations"
_LONGEST_OUTLINE = 2**22
"""Pixels; pycocotools takes some fifty bytes for each."""
_OF_2014 = re.compile(r"COCO_\w+2014_(?=\d+\.jpg$)")


@dataclass(frozen=True, kw_only=True)
class CocoJson:
    """A data set and the JSON it was read from, without what was left out: for libraries that score by it."""

    dataset: Dataset
    content: dict[str, Any]
    """`images`, `annotations` and `categories` as in the file, segmentations as compressed run lengths."""
    unannotated: Sequence[Photo] = ()
    """Photos without annotations, by their ids: all that is detected on them is false."""


def read_coco(path: str | Path, *, images: ImageStore, name: str, allow_missing: bool = False) -> CocoJson:
    """Read the annotations in `path`, whose photos are in `images`.

    Polygons become run lengths by COCO's own rule. Photos without annotations stay in `content`, where a false
    detection counts, and are `unannotated`: not in the data set's photos.

    Raises:
      UserError: not such a JSON; or, all of it in one message and unless `allow_missing`, photos that are missing
        or of another size than said, photos without annotations, annotations of unknown photos or categories, masks
        that are none or of another size, ids given twice.
    """
    content = read_lists(Path(path).expanduser())
    problems = Problems(str(path))
    categories = {whole(one, "id", path): str(one.get("name", one["id"])) for one in content["categories"]}
    readers, listed = {}, {}
    for image in content["images"]:
        number = whole(image, "id", path)
        height, width = whole(image, "height", path), whole(image, "width", path)
        if number in listed:
            problems.add("images whose id is given twice", number)
        elif (name_there := _stored_name(image, images, path)) is None:
            problems.add("images whose photo is missing", _file_name(image, path))
        elif is_of_size(images, name_there, (height, width), problems=problems):
            listed[number], readers[number] = image, images.find(name_there, height=height, width=width)
    known = {image["id"] for image in content["images"]}

    kept: dict[int, dict[str, Any]] = {}
    for annotation in content["annotations"]:
        number = whole(annotation, "id", path)
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if "segments_info" in annotation:
            raise UserError(f"{path} is in COCO's panoptic format: give --format panoptic")
        if not isinstance(image, int) or image not in known:
            problems.add("annotations of images that are not in the file", f"id {number}: image {image}")
        elif image not in listed:
            continue  # told with its photo
        elif not isinstance(category, int) or category not in categories:
            problems.add("annotations of unknown categories", f"id {number}: category {category}")
        elif number in kept:
            problems.add("annotations whose id is given twice", number)
        else:
            try:
                kept[number] = {**annotation, "segmentation": _segmentation(annotation, listed[image])}
            except (rle.RleError, ValueError, TypeError, KeyError, OverflowError) as error:
                problems.add("annotations whose mask cannot be used", f"id {number}: {error}")
    annotated = {annotation["image_id"] for annotation in kept.values()}
    for number in sorted(set(listed) - annotated):
        problems.add(UNANNOTATED, number)
    left_out = problems.settle(allow_missing=allow_missing)

    instances: dict[int, list[Instance]] = {}
    for number, annotation in kept.items():
        instances.setdefault(annotation["image_id"], []).append(
            Instance(
                id=number,
                segmentation=annotation["segmentation"],
                category=annotation["category_id"],
                crowd=bool(annotation.get("iscrowd", 0)),
            )
        )
    photos = [
        Photo(
            id=number,
            name=PurePosixPath(_file_name(image, path)).name,
            height=image["height"],
            width=image["width"],
            instances=tuple(instances.get(number, ())),
            read=readers[number],
        )
        for number, image in sorted(listed.items())
    ]
    with_objects = [photo for photo in photos if photo.instances]
    dataset = Dataset(name=name, photos=with_objects, categories=categories, left_out=left_out)
    content = {**content, "images": list(listed.values()), "annotations": list(kept.values())}
    unannotated = [photo for photo in photos if not photo.instances]
    return CocoJson(dataset=dataset, content=content, unannotated=unannotated)


def read_lists(path: Path) -> dict[str, Any]:
    """Return the content of a JSON with the lists `images`, `annotations` and `categories`, of objects each.

    Raises:
      UserError: the file cannot be read, is too large, or is not such a JSON.
    """
    content = read_json(path)
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{path} has no list {key!r}: it must be annotations in COCO's format")
    return content


def read_json(path: Path) -> Any:
    """Return what the JSON holds.

    Raises:
      UserError: the file cannot be read, is too large, or is no JSON.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes, more than {_MOST_BYTES:,}")
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a JSON in COCO's format") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from None


def whole(entry: dict[str, Any], key: str, path: str | Path) -> int:
    """Return the whole number that `entry`, of the JSON at `path`, has under `key`.

    Raises:
      UserError: it has none.
    """
    value = entry.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UserError(f"{path}: {key} is {value!r} in {str(entry)[:120]}, but must be a whole number, 0 or more")
    return value


def _file_name(image: dict[str, Any], path: str | Path) -> str:
    """Return where the photo is, under the folder of photos: LVIS gives it as the end of an address alone."""
    name = image.get("file_name") or "/".join(str(image.get("coco_url", "")).split("/")[-2:])
    if not isinstance(name, str) or not name:
        raise UserError(f"{path}: image {image['id']} has neither file_name nor coco_url")
    return name


def _stored_name(image: dict[str, Any], images: ImageStore, path: str | Path) -> str | None:
    """Return the name that the image's photo has in the store, None if it is not there.

    LVIS v0.5 calls photos of 2017 as they were called in 2014.
    """
    name = _file_name(image, path)
    return next((one for one in (name, _OF_2014.sub("", name)) if images.has(one)), None)


def _outline(polygon: list[float]) -> float:
    """Return a polygon's length as it is drawn: the larger of its steps in x and y, summed."""
    corners = np.array(polygon).reshape(-1, 2)
    return float(np.abs(np.roll(corners, -1, axis=0) - corners).max(axis=1).sum())


def _segmentation(annotation: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """Return the mask as compressed run lengths.

    Raises:
      ValueError: it is none, or not of the image's size; RleError where its runs say so.
    """
    given, height, width = annotation["segmentation"], image["height"], image["width"]
    rle.check_size(height, width)
    if isinstance(given, list):
        if not given:
            raise ValueError("segmentation is empty")
        corners = [[float(number) for number in polygon] for polygon in given]
        if any(len(polygon) < 6 or len(polygon) % 2 for polygon in corners):
            raise ValueError("a polygon needs three corners, x and y each")
        far = 2 * max(height, width)
        if any(not abs(side) <= far for one in corners for side in one):
            raise ValueError(f"a polygon has a corner far outside {height} x {width}")
        if sum(map(_outline, corners)) > _LONGEST_OUTLINE:
            raise ValueError(f"its outline is longer than {_LONGEST_OUTLINE:,} pixels")
        drawn: Any = coco.frPyObjects(corners, height, width)  # type: ignore[arg-type]
        merged: Any = coco.merge(drawn)
        return {"size": [height, width], "counts": merged["counts"].decode("ascii")}
    size, counts = given["size"], given["counts"]
    if list(size) != [height, width]:
        raise ValueError(f"its size is {str(list(size))[:80]}, the image's {[height, width]}")
    if isinstance(counts, list):
        if any(type(run) is not int or not 0 <= run <= height * width for run in counts):
            raise ValueError(f"its runs are not whole numbers from 0 to {height * width:,}")
        return rle.encode_runs(np.array(counts, np.int64), height=height, width=width)
    if not isinstance(counts, str):
        raise ValueError("its counts are neither text nor a list")
    rle.parse_runs(counts, height=height, width=width)
    return {"size": [height, width], "counts": counts}
