"""Reads and checks a photo and its SA-1B JSON. Both are untrusted."""

import dataclasses
import json
from typing import Any, NamedTuple

from data_pipelines.dataset_kinds import EncodedRecord, count_masks
from data_pipelines.jpegs import check_jpeg
from data_pipelines.json_fields import Faults, Fields, excerpt
from data_pipelines.pairs import Drop, Pair, SourceError
from samjax.core.machine_faults import machine_fault
from samjax.data.masks import rle
from samjax.data.photo import PhotoError
from samjax.data.records import masks as records


class DescriptionError(ValueError):
    """A JSON that is not SA-1B's; the message names every field that is missing or wrong."""


KINDS: dict[type[Exception], str] = {
    DescriptionError: "not SA-1B JSON",
    rle.RleError: "broken mask",
    PhotoError: "broken photo",
}


def encode_pair(pair: Pair) -> EncodedRecord | Drop:
    """Return the record of a photo and its SA-1B description, excluding masks without a pixel, or why there is none.

    Raises:
      SourceError: the machine failed; the pair may be sound.
    """
    try:
        record = parse_pair(pair)
    except tuple(KINDS) as error:
        if fault := machine_fault(error):
            raise SourceError(f"cannot be read ({fault})") from error
        return Drop(where=pair.where, kind=KINDS[type(error)], detail=str(error)[:300])
    kept = dataclasses.replace(record, annotations=tuple(mask for mask in record.annotations if mask.area > 0))
    return EncodedRecord(
        where=pair.where,
        image_id=record.image_id,
        data=records.encode_record(kept),
        size=len(pair.jpeg) + len(pair.text),
        counts=count_masks(kept),
        empty_masks=len(record.annotations) - len(kept.annotations),
    )


class _Described(NamedTuple):
    """An annotation as in the JSON, before it is compared with the photo."""

    id: int
    counts: str
    size: tuple[float, ...]
    area: int
    bbox: tuple[float, ...]
    crop_box: tuple[float, ...]
    point: tuple[float, ...]
    predicted_iou: float
    stability_score: float


def parse_pair(pair: Pair) -> records.Record:
    """Return the record that a photo and its SA-1B description make; docs/data.md lists the fields.

    Raises:
      DescriptionError, rle.RleError, PhotoError: why they make none.
    """
    try:
        described = json.loads(pair.text)
    except (ValueError, RecursionError) as error:
        raise DescriptionError(f"not JSON: {error}") from error
    if not isinstance(described, dict):
        raise DescriptionError(f"the JSON is {excerpt(described)}, expected an object with image and annotations")
    faults = Faults()
    top = Fields(described, faults)
    image, annotations = top.part("image"), top.items("annotations")
    height, width = image.count("height"), image.count("width")
    image_id, file_name = image.count("image_id", bits=31), image.name("file_name")
    if not faults:
        rle.check_size(height, width)
        check_jpeg(pair.jpeg, height=height, width=width)
    found: list[_Described] = []
    for index, annotation in enumerate(annotations):
        own = Faults()
        found.append(_read_annotation(annotation, own))
        if own:
            faults.wrong.append(f"annotation {index}: {own}")
            break  # the others are likely to lack the same
    if faults:
        raise DescriptionError(str(faults))
    checked = []
    for index, annotation in enumerate(found):
        try:
            checked.append(_check_annotation(annotation, height=height, width=width))
        except (DescriptionError, rle.RleError) as error:
            raise type(error)(f"annotation {index}: {error}") from error
    return records.Record(
        image_id=image_id,
        file_name=file_name,
        height=height,
        width=width,
        jpeg=pair.jpeg,
        annotations=tuple(checked),
    )


def _read_annotation(described: Any, faults: Faults) -> _Described:
    if not isinstance(described, dict):
        faults.wrong.append(f"{excerpt(described)}, expected an object")
    fields = Fields(described, faults)
    segmentation = fields.part("segmentation")
    points = fields.items("point_coords")
    if isinstance(described, dict) and isinstance(described.get("point_coords"), list) and len(points) != 1:
        faults.wrong.append(f"point_coords holds {len(points)} points, not one")
    return _Described(
        id=fields.count("id"),
        counts=segmentation.text("counts", expected="text (compressed run lengths, as pycocotools encodes them)"),
        size=segmentation.numbers("size", 2),
        area=fields.count("area"),
        bbox=fields.numbers("bbox", 4),
        crop_box=fields.numbers("crop_box", 4),
        point=fields.as_numbers("point_coords", points[0], 2) if len(points) == 1 else (0.0, 0.0),
        predicted_iou=fields.number("predicted_iou"),
        stability_score=fields.number("stability_score"),
    )


def _check_annotation(found: _Described, *, height: int, width: int) -> records.Annotation:
    """Return an annotation that agrees with itself and with its photo.

    Raises:
      DescriptionError, rle.RleError: it does not.
    """
    faults = []
    if found.size != (height, width):
        size = " x ".join(f"{side:.9g}" for side in found.size)
        faults.append(f"segmentation.size is {size} but the photo's is {height} x {width}")
    boxes = []
    for key, box in (("bbox", found.bbox), ("crop_box", found.crop_box)):
        boxes.append(_normalised(box, height=height, width=width))
        top, left, bottom, right = boxes[-1]
        if not (0 <= top <= bottom <= 1 and 0 <= left <= right <= 1):
            faults.append(f"{key} {list(box)} is not inside the photo, {height} x {width}")
    if faults:
        raise DescriptionError("; ".join(faults))
    covered = rle.area(rle.parse_runs(found.counts, height=height, width=width))
    if found.area != covered:
        raise DescriptionError(f"area is {found.area} but the runs cover {covered:,} pixels")
    x, y = found.point
    return records.Annotation(
        id=found.id,
        counts=found.counts,
        area=found.area,
        bbox=boxes[0],
        crop_box=boxes[1],
        point=(x, y),
        predicted_iou=found.predicted_iou,
        stability_score=found.stability_score,
    )


def _normalised(box: tuple[float, ...], *, height: int, width: int) -> tuple[float, float, float, float]:
    """Return SA-1B's (x, y, width, height) in pixels as TFDS's (y_min, x_min, y_max, x_max), each a share."""
    x, y, box_width, box_height = box
    return y / height, x / width, (y + box_height) / height, (x + box_width) / width
