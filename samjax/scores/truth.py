"""Annotations in the form that COCO's library needs, whatever their file omits."""

import contextlib
import dataclasses
import functools
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pycocotools import mask as coco
from pycocotools.coco import COCO

from samjax.core.errors import UserError
from samjax.data.annotations.annotation_json import flag, is_number, is_whole
from samjax.data.annotations.problems import Problems, quote

BAD_BOXES, BAD_AREAS = "boxes of annotations that are none", "areas of annotations that are no numbers"

_OF_LVIS = ("neg_category_ids", "not_exhaustive_category_ids")

NO_SIZE = -1.0
"""An area outside the range of every size: COCO's library ignores an object that has it, and a detection that has it
and matches none."""

ANY = 1
"""The only category of a class-agnostic truth, and of what is scored by it."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The ground truth that predictions are scored against.

    Each of `annotations` has `id` from 1, `image_id`, `category_id`, `iscrowd`, `area`, `bbox` and `segmentation`, as
    compressed run lengths. COCO's library takes an object that is found for one that is not if its id is 0.
    """

    images: Mapping[int, Mapping[str, Any]]
    annotations: Sequence[Mapping[str, Any]]
    frequencies: Mapping[int, str | None]
    """Of categories by their ids: r, c and f in LVIS, None in COCO."""
    federated: bool
    """As LVIS: a photo is annotated with some categories alone, and others are not held against it."""

    @classmethod
    def of(cls, content: Mapping[str, Any], problems: Problems | None = None) -> "Truth":
        """Return what the content of a COCO or LVIS JSON says, see `CocoJson.content`.

        An object's box and area are those of its mask where the file has none. LVIS is known by its photos'
        `neg_category_ids` or its categories' `frequency`; there, objects without an area are left out, as its package
        does, and `ignore` becomes an area that no size has.

        Args:
          problems: is told of boxes and areas that are there and make no sense. They are taken from masks then.

        Raises:
          UserError: some of it is LVIS's, and what else LVIS's rules need is not there.
        """
        federated = _is_federated(content)
        problems = Problems("annotations") if problems is None else problems
        annotations = [
            _annotation(one, id=number, problems=problems) for number, one in enumerate(content["annotations"], 1)
        ]
        if federated:
            given = zip(annotations, content["annotations"], strict=True)
            annotations = [_as_lvis(one, ignored=flag(said, "ignore")) for one, said in given if one["area"] > 0]
        return cls(
            images={image["id"]: image for image in content["images"]},
            annotations=annotations,
            frequencies={one["id"]: one.get("frequency") for one in content["categories"]},
            federated=federated,
        )

    @functools.cached_property
    def by_photo(self) -> Mapping[int, Sequence[Mapping[str, Any]]]:
        """The annotations of each photo that has some, by its id."""
        found: dict[int, list[Mapping[str, Any]]] = {}
        for one in self.annotations:
            found.setdefault(one["image_id"], []).append(one)
        return found

    def of_photos(self, photos: Sequence[int]) -> "Truth":
        """Return that of these photos alone, by their ids."""
        return Truth(
            images={photo: self.images[photo] for photo in photos},
            annotations=[one for photo in photos for one in self.by_photo.get(photo, ())],
            frequencies=self.frequencies,
            federated=self.federated,
        )

    def class_agnostic(self) -> "Truth":
        """Return it with all objects in the category `ANY`, to be scored by COCO's rules: as `useCats` 0 does there."""
        by_category = sorted(self.annotations, key=lambda one: one["category_id"])  # where masks overlap two equally
        return dataclasses.replace(
            self,
            annotations=[{**one, "category_id": ANY} for one in by_category],
            frequencies={ANY: None},
            federated=False,
        )


def _is_federated(content: Mapping[str, Any]) -> bool:
    """Return whether the content is LVIS's.

    Raises:
      UserError: a part is, and another lacks what LVIS's rules need: by COCO's rules its figures would be wrong.
    """
    images, categories = content["images"], content["categories"]
    if not (
        any(key in image for image in images for key in _OF_LVIS)
        or any(one.get("frequency") in ("r", "c", "f") for one in categories)
    ):
        return False
    needed = "to be scored by LVIS's rules, as some of the file asks for"
    for image in images:
        for key in _OF_LVIS:
            value = image.get(key)
            if not isinstance(value, list) or not all(map(is_whole, value)):
                raise UserError(f"image {image['id']} needs {key}, a list of ids, {needed}: it has {quote(value)}")
    for one in categories:
        if one.get("frequency") not in ("r", "c", "f"):
            value = quote(one.get("frequency"))
            raise UserError(f"category {one['id']} needs the frequency 'r', 'c' or 'f' {needed}: it has {value}")
    return True


def _as_lvis(annotation: dict[str, Any], *, ignored: bool) -> dict[str, Any]:
    return {**annotation, "iscrowd": 0, "area": NO_SIZE if ignored else annotation["area"]}


def _annotation(given: Mapping[str, Any], *, id: int, problems: Problems) -> dict[str, Any]:
    segmentation = given["segmentation"]
    box, area = given.get("bbox"), given.get("area")
    if box is not None and not is_box(box):
        problems.add(BAD_BOXES, f"id {given['id']}: {quote(box)}")
        box = None
    if area is not None and not (is_number(area) and area >= 0):
        problems.add(BAD_AREAS, f"id {given['id']}: {quote(area)}")
        area = None
    if area is None:
        area = float(coco.area(segmentation))  # type: ignore[arg-type]
    return {
        "id": id,
        "image_id": given["image_id"],
        "category_id": given["category_id"],
        "iscrowd": int(flag(given, "iscrowd")),
        "area": area,
        "bbox": [float(side) for side in coco.toBbox(segmentation)] if box is None else box,  # type: ignore[arg-type]
        "segmentation": segmentation,
    }


def is_box(value: Any) -> bool:
    """Return whether `value` is x, y, width and height of a box with an area, all of them finite."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 4
        and all(map(is_number, value))
        and value[2] > 0
        and value[3] > 0
        and is_number(value[2] * value[3])
    )


def make_index(annotations: Sequence[Mapping[str, Any]], images: Mapping[int, Mapping[str, Any]]) -> COCO:
    """Return copies of the annotations as COCO's library takes them, in category `ANY`: it changes what it is given."""
    index = COCO()
    content: Any = {
        "images": [{"id": number, "height": one["height"], "width": one["width"]} for number, one in images.items()],
        "annotations": [{**one, "category_id": ANY} for one in annotations],
        "categories": [{"id": ANY}],
    }
    index.dataset = content
    index.createIndex()
    return index


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Print nothing meanwhile: COCO's library tells what it does."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
