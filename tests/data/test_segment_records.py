"""Records of photos whose every pixel has a segment."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from samjax.data.records import photos, segments
from samjax.data.records.png_map import encode_map
from samjax.data.records.schema import RecordError


def jpeg(height: int, width: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (90, 40, 30)).save(out, format="JPEG")
    return out.getvalue()


@pytest.fixture
def record():
    ids = np.zeros((6, 9), np.int32)
    ids[1:3, 2:5], ids[4:, 6:] = 1, 300
    table = (segments.Segment(id=1, category=7, thing=True), segments.Segment(id=300, category=2, crowd=True))
    return segments.Record(
        image_id=3, file_name="a.jpg", height=6, width=9, jpeg=jpeg(6, 9), png=encode_map(ids), segments=table
    )


def test_a_record_comes_back_and_its_photo_alone_too(record):
    data = segments.encode_record(record)
    assert segments.decode_record(data) == record
    assert photos.decode_record(data).jpeg == record.jpeg
    classes = record.classes()
    assert classes.dtype == np.int16
    assert set(np.unique(classes)) == {segments.UNLABELLED, 2, 7}
    assert (classes[1:3, 2:5] == 7).all()


@pytest.mark.parametrize(("most", "bits"), [(255, np.uint8), (256, np.uint16)])
def test_ids_take_no_more_bits_than_they_need(most, bits):
    ids = np.array([[0, most]], np.int32)
    stored = np.asarray(Image.open(io.BytesIO(encode_map(ids))))
    assert stored.max() == most
    assert stored.dtype == bits


def test_a_map_of_another_size_or_of_unknown_ids_is_refused(record):
    other = dataclasses.replace(record, png=encode_map(np.zeros((6, 8), np.int32)))
    with pytest.raises(RecordError, match="the map of segments is 6 x 8, its photo 6 x 9"):
        other.ids()
    with pytest.raises(RecordError, match="has the id 300, which the table has not"):
        dataclasses.replace(record, segments=record.segments[:1]).ids()
    with pytest.raises(RecordError, match="cannot be read"):
        dataclasses.replace(record, png=record.png[:40]).ids()


def test_segments_of_one_id_or_of_none_are_refused(record):
    for ids in ((1, 1), (0, 1), (1, 2**16)):
        table = tuple(segments.Segment(id=one, category=0) for one in ids)
        with pytest.raises(RecordError, match="they must differ, from 1 to 65,535"):
            segments.decode_record(segments.encode_record(dataclasses.replace(record, segments=table)))
    with pytest.raises(RecordError, match="not a record of the segments schema"):
        segments.decode_record(b"\x00nothing")
