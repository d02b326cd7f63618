"""Reads SA-1B's JSON: what a photo and its description say, checked. Both are untrusted."""

import json
from typing import Any

from data_pipelines.jpegs import check_jpeg
from data_pipelines.pairs import Pair
from samjax.data import records, rle
from samjax.data.photo import PhotoError

_FAR = 2.0**53  # beyond it a float is no exact pixel; NaN and infinity are not below it either


class DescriptionError(ValueError):
    """A JSON that is not SA-1B's; the message names the field."""


KINDS: dict[type[Exception], str] = {
    DescriptionError: "not SA-1B JSON",
    rle.RleError: "broken mask",
    PhotoError: "broken photo",
}


def parse_pair(pair: Pair) -> records.Record:
    """Return the record that a photo and its SA-1B description make.

    Raises:
      DescriptionError, rle.RleError, PhotoError: why they make none.
    """
    try:
        described = json.loads(pair.text)
    except (ValueError, RecursionError) as error:
        raise DescriptionError(f"not JSON: {error}") from error
    image = _member(described, "image", dict)
    height, width = _count(image, "height"), _count(image, "width")
    rle.check_size(height, width)
    image_id = _count(image, "image_id")
    if image_id >= 2**31:
        raise DescriptionError(f"image_id {image_id} does not fit in 31 bits")
    check_jpeg(pair.jpeg, height=height, width=width)
    annotations = []
    for index, annotation in enumerate(_member(described, "annotations", list)):
        try:
            annotations.append(_annotation(annotation, height=height, width=width))
        except (DescriptionError, rle.RleError) as error:
            raise type(error)(f"annotation {index}: {error}") from error
    return records.Record(
        image_id=image_id,
        file_name=_file_name(image),
        height=height,
        width=width,
        jpeg=pair.jpeg,
        annotations=tuple(annotations),
    )


def _annotation(described: Any, *, height: int, width: int) -> records.Annotation:
    segmentation = _member(described, "segmentation", dict)
    counts = _member(segmentation, "counts", str)
    size = _numbers(segmentation.get("size"), "segmentation.size", 2)
    if size != (height, width):
        found = " x ".join(f"{side:.9g}" for side in size)
        raise DescriptionError(f"segmentation.size is {found} but the photo's is {height} x {width}")
    covered = rle.area(rle.parse_runs(counts, height=height, width=width))
    area = _count(described, "area")
    if area != covered:
        raise DescriptionError(f"area is {area} but the runs cover {covered:,} pixels")
    points = _member(described, "point_coords", list)
    if len(points) != 1:
        raise DescriptionError(f"point_coords holds {len(points)} points, not one")
    x, y = _numbers(points[0], "point_coords", 2)
    predicted_iou, stability_score = _numbers(
        [described.get("predicted_iou"), described.get("stability_score")], "predicted_iou, stability_score", 2
    )
    return records.Annotation(
        id=_count(described, "id"),
        counts=counts,
        area=area,
        bbox=_box(described, "bbox", height=height, width=width),
        crop_box=_box(described, "crop_box", height=height, width=width),
        point=(x, y),
        predicted_iou=predicted_iou,
        stability_score=stability_score,
    )


def _member(described: Any, key: str, kind: type) -> Any:
    value = described.get(key) if isinstance(described, dict) else None
    if not isinstance(value, kind):
        raise DescriptionError(f"{key} is missing or not {kind.__name__}")
    return value


def _count(described: Any, key: str) -> int:
    value = _member(described, key, int)
    if value >= 2**63:
        raise DescriptionError(f"{key} has more than 63 bits")
    if isinstance(value, bool) or value < 0:
        raise DescriptionError(f"{key} is {value}, not a count")
    return value


def _file_name(image: Any) -> str:
    """JSON can hold half a surrogate pair, which no file can."""
    name = _member(image, "file_name", str)
    if len(name) > 255 or not name.isprintable():
        raise DescriptionError("file_name is not a name of up to 255 printable characters")
    return name


def _numbers(value: Any, key: str, length: int) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else []
    # a JSON integer can be too large for a float
    if len(numbers) != length or not all(
        isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < _FAR for number in numbers
    ):
        raise DescriptionError(f"{key} is not {length} numbers")
    return tuple(float(number) for number in numbers)


def _box(described: Any, key: str, *, height: int, width: int) -> tuple[float, float, float, float]:
    """Return SA-1B's (x, y, width, height) in pixels as TFDS's (y_min, x_min, y_max, x_max), normalised."""
    x, y, box_width, box_height = _numbers(described.get(key), key, 4)
    box = (y / height, x / width, (y + box_height) / height, (x + box_width) / width)
    if not (0 <= box[0] <= box[2] <= 1 and 0 <= box[1] <= box[3] <= 1):
        raise DescriptionError(f"{key} {described[key]} is not inside the photo")
    return box
