"""Annotations as COCO and LVIS write them: one JSON file for all photos."""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pycocotools import mask as coco

from samjax.core.errors import UserError
from samjax.data import rle
from samjax.eval.datasets.dataset import Dataset, Instance, Photo
from samjax.eval.datasets.images import ImageStore
from samjax.eval.datasets.problems import Problems

_MOST_BYTES = 4 * 2**30  # LVIS v1's training annotations are 1.2 GB
_MOST_CORNERS = 2_000_000


@dataclass(frozen=True, kw_only=True)
class CocoJson:
    """A data set and the JSON it was read from, without what was left out: for libraries that score by it."""

    dataset: Dataset
    content: dict[str, Any]
    """`images`, `annotations` and `categories` as in the file, segmentations as compressed run lengths."""


def read_coco(path: str | Path, *, images: ImageStore, name: str, allow_missing: bool = False) -> CocoJson:
    """Read the annotations in `path`, whose photos are in `images`.

    Polygons become run lengths by COCO's own rule. Photos without annotations stay in `content`, where a false
    detection counts, and are not in the data set's photos.

    Raises:
      UserError: not such a JSON; or, all of it in one message and unless `allow_missing`, photos that are missing,
        photos without annotations, annotations of unknown photos or categories, masks that are none or of another
        size, ids given twice.
    """
    content = _read(Path(path).expanduser())
    problems = Problems(str(path))
    categories = {_whole(one, "id", path): str(one.get("name", one["id"])) for one in content["categories"]}
    readers, listed = {}, {}
    for image in content["images"]:
        number = _whole(image, "id", path)
        height, width = _whole(image, "height", path), _whole(image, "width", path)
        read = images.find(_file_name(image, path), height=height, width=width)
        if number in listed:
            problems.add("images whose id is given twice", number)
        elif read is None:
            problems.add("images whose photo is missing", _file_name(image, path))
        else:
            listed[number], readers[number] = image, read
    unread = {image["id"] for image in content["images"]} - set(listed)

    kept: dict[int, dict[str, Any]] = {}
    for annotation in content["annotations"]:
        number, image = _whole(annotation, "id", path), annotation.get("image_id")
        if image in unread:
            continue  # told with its photo
        if image not in listed:
            problems.add("annotations of images that are not in the file", f"id {number}: image {image}")
        elif annotation.get("category_id") not in categories:
            problems.add("annotations of unknown categories", f"id {number}: category {annotation.get('category_id')}")
        elif number in kept:
            problems.add("annotations whose id is given twice", number)
        else:
            try:
                kept[number] = {**annotation, "segmentation": _segmentation(annotation, listed[image])}
            except (rle.RleError, ValueError, TypeError, KeyError) as error:
                problems.add("annotations whose mask cannot be used", f"id {number}: {error}")
    annotated = {annotation["image_id"] for annotation in kept.values()}
    for number in sorted(set(listed) - annotated):
        problems.add("images without annotations", number)
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
            instances=tuple(instances[number]),
            read=readers[number],
        )
        for number, image in sorted(listed.items())
        if number in instances
    ]
    dataset = Dataset(name=name, photos=photos, categories=categories, left_out=left_out)
    content = {**content, "images": list(listed.values()), "annotations": list(kept.values())}
    return CocoJson(dataset=dataset, content=content)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes, more than {_MOST_BYTES:,}")
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give a JSON in COCO's format") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from None
    for key in ("images", "annotations", "categories"):
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UserError(f"{path} has no list {key!r}: it must be annotations in COCO's format")
    return content


def _whole(entry: dict[str, Any], key: str, path: str | Path) -> int:
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
        if sum(map(len, corners)) > _MOST_CORNERS or any(not abs(side) <= far for one in corners for side in one):
            raise ValueError(f"a polygon has a corner far outside {height} x {width}, or too many")
        drawn: Any = coco.frPyObjects(corners, height, width)  # type: ignore[arg-type]
        merged: Any = coco.merge(drawn)
        return {"size": [height, width], "counts": merged["counts"].decode("ascii")}
    size, counts = given["size"], given["counts"]
    if list(size) != [height, width]:
        raise ValueError(f"it is {size[0]} x {size[1]}, the image {height} x {width}")
    if isinstance(counts, list):
        return rle.encode_runs(np.array(counts, np.int64), height=height, width=width)
    rle.parse_runs(counts, height=height, width=width)
    return {"size": [height, width], "counts": counts}
