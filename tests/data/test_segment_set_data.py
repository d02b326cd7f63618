"""Examples of photos with segments: groupings, slots, crops, masks as segments, and what is refused."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from samjax.core.batches import NO_SEGMENT
from samjax.data.masks import rle
from samjax.data.records import masks
from samjax.data.records import segments as records
from samjax.data.records.schema import RecordError
from samjax.data.segments.segment_set_data import (
    Grouping,
    SegmentSetDataConfig,
    SegmentSetExamples,
    largest,
    masks_as_segments,
    segments_of,
)
from samjax.data.stream.example import UnusableRecordError

TABLE = (
    records.Segment(id=1, category=0, thing=True),
    records.Segment(id=2, category=0, thing=True),
    records.Segment(id=3, category=1),
    records.Segment(id=4, category=1),
    records.Segment(id=5, category=0, thing=True, crowd=True),
)
IDS = np.array([0, 1, 1, 2, 3, 3, 3, 4, 5, 5], np.uint8).repeat(8)[None].repeat(40, 0)


def encoded(array, kind) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, kind)
    return out.getvalue()


def record(ids=IDS, table=TABLE) -> records.Record:
    photo = np.random.default_rng(0).integers(0, 255, (*ids.shape, 3), np.uint8)
    height, width = ids.shape
    return records.Record(
        image_id=7,
        file_name="a.jpg",
        height=height,
        width=width,
        jpeg=encoded(photo, "JPEG"),
        png=encoded(ids, "PNG"),
        segments=table,
    )


def example(given, *, augment=False, **changes):
    config = SegmentSetDataConfig(**{"source": "x", "slots": 4, **changes})
    maker = SegmentSetExamples(config, image_size=(40, 80), classes=2, augment=augment)
    made = maker.example(given, np.random.default_rng(0))
    for name, shape in maker.row().items():
        assert made.arrays[name].shape == shape.shape
        assert made.arrays[name].dtype == shape.dtype
    return made


@pytest.mark.parametrize(
    ("grouping", "expected", "classes"),
    [
        (Grouping.PANOPTIC, [NO_SEGMENT, 0, 0, 1, 2, 2, 2, 2, NO_SEGMENT, NO_SEGMENT], [0, 0, 1]),
        (
            Grouping.INSTANCE,
            [NO_SEGMENT, 0, 0, 1, NO_SEGMENT, NO_SEGMENT, NO_SEGMENT, NO_SEGMENT, NO_SEGMENT, NO_SEGMENT],
            [0, 0],
        ),
        (Grouping.SEMANTIC, [NO_SEGMENT, 0, 0, 0, 1, 1, 1, 1, NO_SEGMENT, NO_SEGMENT], [0, 1]),
    ],
)
def test_groupings(grouping, expected, classes):
    found, own = segments_of(record(), grouping)
    assert found[0, ::8].tolist() == expected
    assert own == classes


def test_segments_come_the_largest_first_and_slots_that_hold_none_say_so():
    made = example(record())
    assert made.arrays["segment_map"][0, ::8].tolist() == [NO_SEGMENT, 1, 1, 2, 0, 0, 0, 0, NO_SEGMENT, NO_SEGMENT]
    assert made.arrays["classes"].tolist() == [1, 0, 0, NO_SEGMENT]
    assert made.counts == {"without_segments": 0, "segments_used": 3, "segments_left_out": 0}


def test_segments_beyond_the_slots_are_left_out_and_counted():
    made = example(record(), slots=2)
    assert made.arrays["segment_map"][0, ::8].tolist() == [
        NO_SEGMENT,
        1,
        1,
        NO_SEGMENT,
        0,
        0,
        0,
        0,
        NO_SEGMENT,
        NO_SEGMENT,
    ]
    assert made.counts["segments_left_out"] == 1


def test_a_crop_has_the_segments_that_it_shows_alone():
    made = example(record(), augment=True, fit=(160, 80), scale_jitter=(2.0, 2.0))
    there = np.unique(made.arrays["segment_map"])
    used = made.counts["segments_used"]
    assert used < 3
    assert there[there != NO_SEGMENT].tolist() == list(range(used))
    assert (made.arrays["classes"][:used] >= 0).all()
    assert (made.arrays["classes"][used:] == NO_SEGMENT).all()


def test_what_is_refused():
    with pytest.raises(UnusableRecordError, match="no segment"):
        example(record(table=(dataclasses.replace(TABLE[0], crowd=True), *TABLE[4:]), ids=np.ones((40, 80), np.uint8)))
    with pytest.raises(RecordError, match="class 2; the model has 2"):
        example(record(table=(dataclasses.replace(TABLE[0], category=2),), ids=np.ones((40, 80), np.uint8)))


def test_the_largest_of_equal_segments_is_the_first():
    found, kept, left_out = largest(np.array([[3, 3, 1, 1, NO_SEGMENT]]), 1)
    assert found.tolist() == [[NO_SEGMENT, NO_SEGMENT, 0, 0, NO_SEGMENT]]
    assert (kept, left_out) == ([1], 1)


def test_of_masks_over_one_another_the_smallest_has_the_pixels():
    drawn = np.zeros((3, 1, 8), bool)
    drawn[0, 0, 2:4], drawn[1, 0, :6], drawn[2, 0, 3:6] = True, True, True
    annotations = tuple(
        masks.Annotation(
            id=number,
            counts=rle.encode(one)["counts"],
            area=int(one.sum()),
            bbox=(0.0, 0.0, 1.0, 1.0),
            crop_box=(0.0, 0.0, 1.0, 1.0),
            point=(0.0, 0.0),
            predicted_iou=1.0,
            stability_score=1.0,
        )
        for number, one in enumerate(drawn)
    )
    photo = masks.Record(image_id=7, file_name="a.jpg", height=1, width=8, jpeg=b"", annotations=annotations)
    found, classes = masks_as_segments(photo)
    assert found.tolist() == [[1, 1, 0, 0, 2, 2, NO_SEGMENT, NO_SEGMENT]]
    assert classes == [0, 0, 0]
