"""Crops of photos with classes: the labels are those of the pixels that the crop shows."""

import dataclasses
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from samjax.core.errors import UserError
from samjax.data.masks import rle
from samjax.data.records import masks, segments
from samjax.data.records.png_map import encode_map
from samjax.data.records.schema import RecordError
from samjax.data.segments.photometric import PhotometricConfig
from samjax.data.segments.segment_data import SegmentDataConfig, SegmentExamples, object_classes
from samjax.data.stream.example import UnusableRecordError

PLAIN = PhotometricConfig(probability=0.0)
LEVELS = (0, 80, 160, 240)
"""Each class's grey, so that the photo tells the classes."""


def record_of(classes: np.ndarray) -> segments.Record:
    photo = np.array([*LEVELS, 120], np.uint8)[classes]
    out = io.BytesIO()
    Image.fromarray(photo).convert("RGB").save(out, format="PNG")
    table = tuple(segments.Segment(id=k + 1, category=k) for k in range(4))
    png = encode_map((classes + 1).astype(np.int32))
    return segments.Record(
        image_id=1, file_name="a.png", height=len(classes), width=classes.shape[1], jpeg=out.getvalue(), png=png,
        segments=table,
    )  # fmt: skip


@pytest.fixture(scope="module")
def record():
    classes = np.zeros((60, 90), np.int64)
    classes[:30, 45:], classes[30:, :45], classes[30:, 45:], classes[50:] = 1, 2, 3, -1
    return record_of(classes)


def maker(frame=(48, 48), **changes):
    rules = {"source": "x", "fit": (90, 60), "photometric": PLAIN, **changes}
    return SegmentExamples(SegmentDataConfig(**rules), image_size=frame, classes=4)


@pytest.mark.parametrize("seed", range(6))
def test_labels_are_of_the_pixels_that_the_crop_shows(record, seed):
    """At any scale, mirrored or not: away from borders, where colours mix, a pixel's grey is its class's."""
    arrays = maker().example(record, np.random.default_rng(seed)).arrays
    height, width = arrays["valid_size"]
    grey, labels = arrays["image"][:height, :width, 0].astype(int), arrays["labels"][:height, :width]
    assert (arrays["labels"][height:] == -1).all()
    assert (arrays["labels"][:, width:] == -1).all()
    pure = np.isin(grey, LEVELS)
    assert pure.mean() > 0.5
    known = pure & (labels >= 0)
    assert (np.array(LEVELS)[labels[known]] == grey[known]).mean() > 0.95


def test_a_crop_of_nearly_one_class_is_drawn_again():
    classes = np.zeros((64, 64), np.int64)
    classes[:, 58:] = 1
    shares = {}
    for most in (1.0, 0.75):
        make = maker(frame=(16, 16), fit=(64, 64), scale_jitter=(1.0, 1.0), most_of_class=most, crop_tries=200)
        labels = [make.example(record_of(classes), np.random.default_rng(seed)).arrays["labels"] for seed in range(20)]
        shares[most] = np.mean([(one == 1).any() for one in labels])
    assert shares[0.75] == 1.0
    assert shares[1.0] < 0.6


def test_a_mirrored_crop_has_mirrored_labels(record):
    turned = maker(flip_probability=1.0, scale_jitter=(1.0, 1.0)).example(record, np.random.default_rng(3)).arrays
    plain = maker(flip_probability=0.0, scale_jitter=(1.0, 1.0)).example(record, np.random.default_rng(3)).arrays
    height, width = plain["valid_size"]
    for name in ("image", "labels"):
        np.testing.assert_array_equal(turned[name][:height, :width], plain[name][:height, :width][:, ::-1])


def test_validation_sees_the_whole_photo(record):
    make = SegmentExamples(SegmentDataConfig(source="x"), image_size=(30, 45), classes=4, augment=False)
    one, other = (make.example(record, np.random.default_rng(seed)).arrays for seed in (0, 1))
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
    np.testing.assert_array_equal(one["labels"], record.classes()[1::2, 1::2])


def test_colours_change_and_labels_stay(record):
    plain = maker().example(record, np.random.default_rng(0)).arrays
    changed = maker(photometric=PhotometricConfig(probability=1.0)).example(record, np.random.default_rng(0)).arrays
    np.testing.assert_array_equal(plain["labels"], changed["labels"])
    assert (plain["image"] != changed["image"]).any()


def test_masks_make_two_classes(photos):
    with tarfile.open(next((photos / "train").glob("*.tar"))) as tar:
        described = json.load(tar.extractfile(next(one for one in tar if one.name.endswith(".json"))))
    size = {"height": described["image"]["height"], "width": described["image"]["width"]}
    counts = [one["segmentation"]["counts"] for one in described["annotations"]]
    found = object_classes(
        masks.Record(image_id=1, file_name="a.jpg", jpeg=b"", **size, annotations=tuple(map(annotation, counts)))
    )
    inside = np.any([rle.decode(one, **size) for one in counts], axis=0)
    assert 0 < inside.mean() < 1
    np.testing.assert_array_equal(found, inside)


def annotation(counts: str) -> masks.Annotation:
    box = (0.0, 0.0, 1.0, 1.0)
    return masks.Annotation(
        id=1, counts=counts, area=1, bbox=box, crop_box=box, point=(0.0, 0.0), predicted_iou=1.0, stability_score=1.0
    )


def test_a_class_that_the_model_has_not_is_refused(record):
    make = SegmentExamples(SegmentDataConfig(source="x"), image_size=(32, 32), classes=3)
    with pytest.raises(RecordError, match="it has the class 3; the model has 3, numbered from 0"):
        make.example(record, np.random.default_rng(0))


def test_a_photo_without_a_class_is_left_out(record):
    blank = dataclasses.replace(record, png=encode_map(np.zeros((60, 90), np.int32)), segments=())
    with pytest.raises(UnusableRecordError, match="no pixel has a class"):
        maker().example(blank, np.random.default_rng(0))


@pytest.mark.parametrize("field", ["scale_jitter", "aspect_jitter"])
def test_a_range_the_wrong_way_round_is_refused(field):
    with pytest.raises(UserError, match=rf"data\.{field} is \(2\.0, 1\.0\); give the least factor"):
        SegmentDataConfig(source="x", **{field: (2.0, 1.0)})
