"""Encodes and decodes records of photos with masks, in TFDS's own `segment_anything` schema: data prepared by TFDS or
samjax works.

A record is a serialised `tf.train.Example`; TFDS reads and writes it without TensorFlow. Photos stay encoded.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from samjax.data.records import photos
from samjax.data.records.schema import (
    RecordError,
    Schema,
    encode_example,
    image_features,
    not_of_schema,
    photo_fields,
    skip_photo_decoding,
    text,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Annotation:
    """One mask. Boxes are (y_min, x_min, y_max, x_max), each divided by the photo's height or width."""

    id: int
    counts: str
    """Run lengths, compressed COCO code: see `samjax.data.masks.rle`."""
    area: int
    bbox: tuple[float, float, float, float]
    crop_box: tuple[float, float, float, float]
    point: tuple[float, float]
    """(x, y), pixels: the prompt the mask was made from."""
    predicted_iou: float
    stability_score: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record(photos.Record):
    """One photo, still encoded, and its masks, which all have the photo's size."""

    annotations: tuple[Annotation, ...]


@functools.cache
def features() -> Any:
    """Return the schema, a TFDS FeaturesDict; equal to that of its `segment_anything` 1.0.0, entry by entry."""
    import tensorflow_datasets as tfds  # where a record is read or written: processes that do neither go without

    annotation = tfds.features.FeaturesDict(
        {
            "area": tfds.features.Scalar(np.uint64),
            "bbox": tfds.features.BBoxFeature(),
            "crop_box": tfds.features.BBoxFeature(),
            "id": tfds.features.Scalar(np.uint64),
            "point_coords": tfds.features.Tensor(shape=(1, 2), dtype=np.float64),
            "predicted_iou": tfds.features.Scalar(np.float64),
            "segmentation": tfds.features.FeaturesDict(
                {"counts": np.str_, "size": tfds.features.Tensor(shape=(2,), dtype=np.uint64)}
            ),
            "stability_score": tfds.features.Scalar(np.float64),
        }
    )
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.FeaturesDict(image_features()),
            "annotations": tfds.features.Sequence(annotation),
        }
    )


def to_example(record: Record) -> dict[str, Any]:
    """Return `record` as the nested dict that `features()` encodes."""
    return {
        **photos.to_example(record),
        "annotations": [
            {
                "area": annotation.area,
                "bbox": np.array(annotation.bbox, np.float64),
                "crop_box": np.array(annotation.crop_box, np.float64),
                "id": annotation.id,
                "point_coords": np.array([annotation.point], np.float64),
                "predicted_iou": annotation.predicted_iou,
                "segmentation": {
                    "counts": annotation.counts,
                    "size": np.array([record.height, record.width], np.uint64),
                },
                "stability_score": annotation.stability_score,
            }
            for annotation in record.annotations
        ],
    }


def encode_record(record: Record) -> bytes:
    """Return `record` as the bytes of one ArrayRecord record, the same in every process."""
    return encode_example(features(), to_example(record))


def decode_record(data: bytes) -> Record:
    """Return the record in `data`, the bytes of one ArrayRecord record.

    Raises:
      RecordError: not a record of this schema, or one that contradicts itself.
    """
    try:
        return _from_example(features().deserialize_example_np(data, decoders=skip_photo_decoding()))
    except RecordError:
        raise
    except Exception as error:
        raise not_of_schema(error, name="segment_anything") from error


def _from_example(example: Any) -> Record:
    photo, columns = photo_fields(example["image"]), example["annotations"]
    height, width = photo["height"], photo["width"]
    sizes = np.asarray(columns["segmentation"]["size"]).reshape(-1, 2)
    wrong = np.flatnonzero((sizes != (height, width)).any(axis=1))
    if wrong.size:
        found = " x ".join(str(side) for side in sizes[wrong[0]])
        raise RecordError(f"annotation {wrong[0]}: size is {found} but the photo's is {height} x {width}")
    rows = zip(
        columns["id"],
        columns["segmentation"]["counts"],
        columns["area"],
        columns["bbox"],
        columns["crop_box"],
        columns["point_coords"],
        columns["predicted_iou"],
        columns["stability_score"],
        sizes,
        strict=True,
    )
    annotations = tuple(
        Annotation(
            id=int(identifier),
            counts=text(counts),
            area=int(area),
            bbox=_box(bbox),
            crop_box=_box(crop_box),
            point=(float(point[0][0]), float(point[0][1])),
            predicted_iou=float(predicted_iou),
            stability_score=float(stability_score),
        )
        for identifier, counts, area, bbox, crop_box, point, predicted_iou, stability_score, _ in rows
    )
    return Record(**photo, annotations=annotations)


def _box(values: Any) -> tuple[float, float, float, float]:
    y_min, x_min, y_max, x_max = (float(value) for value in values)
    return y_min, x_min, y_max, x_max


SCHEMA = Schema(name="TFDS's segment_anything", features=features, decode=decode_record, parts=(photos.SCHEMA,))
