import dataclasses

import numpy as np
import pytest
from shards import record
from tensorflow_datasets.datasets.segment_anything import segment_anything_dataset_builder

from samjax.data.records import masks as records
from samjax.data.records import photos
from samjax.data.records.schema import skip_photo_decoding


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return segment_anything_dataset_builder.Builder(data_dir=tmp_path_factory.mktemp("tfds")).info.features


def test_the_schema_is_that_of_tfds(official):
    assert records.features().get_serialized_info() == official.get_serialized_info()
    assert records.features().get_tensor_info() == official.get_tensor_info()


@pytest.mark.parametrize("masks", [0, 1, 2, 70])
def test_a_record_written_by_tfds_reads_back(official, masks):
    item = record(7, np.tile(np.eye(24, 32, dtype=bool), (masks, 1, 1)))
    assert records.decode_record(official.serialize_example(records.to_example(item))) == item
    assert records.decode_record(records.encode_record(item)) == item


def test_every_field_keeps_its_place():
    """Fields of the same type must not be swapped."""
    mask = dataclasses.replace(
        record(7).annotations[0],
        id=3,
        area=5,
        bbox=(0.0, 0.125, 0.25, 0.5),
        crop_box=(0.5, 0.625, 0.75, 1.0),
        point=(2.5, 8.0),
        predicted_iou=0.25,
        stability_score=0.5,
    )
    item = dataclasses.replace(record(7), annotations=(mask,))
    example = records.features().deserialize_example_np(records.encode_record(item), decoders=skip_photo_decoding())
    assert list(example["annotations"]["id"]) == [3]
    assert list(example["annotations"]["area"]) == [5]
    assert np.asarray(example["annotations"]["bbox"]).tolist() == [[0.0, 0.125, 0.25, 0.5]]
    assert np.asarray(example["annotations"]["point_coords"]).tolist() == [[[2.5, 8.0]]]
    assert np.asarray(example["annotations"]["segmentation"]["size"]).tolist() == [[24, 32]]
    assert records.decode_record(records.encode_record(item)) == item


def with_size(item, size):
    example = records.to_example(item)
    example["annotations"][1]["segmentation"]["size"] = np.array(size, np.uint64)
    return records.features().serialize_example(example)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "schema"),
        (b"junk" * 20, "schema"),
        (records.encode_record(record(1))[:-7], "schema"),
        (with_size(record(1), (24, 31)), "annotation 1: size is 24 x 31 but the photo's is 24 x 32"),
        (records.encode_record(dataclasses.replace(record(1), image_id=2**31)), "31 bits"),
        (records.encode_record(dataclasses.replace(record(1, []), height=0)), "photo size 0 x 32"),
        (records.encode_record(dataclasses.replace(record(1, []), height=2**40)), "photo size"),
    ],
)
def test_a_broken_record_is_refused_with_the_reason(data, says):
    with pytest.raises(records.RecordError, match=says):
        records.decode_record(data)


def photo(**changes):
    item = record(7)
    fields = {name: getattr(item, name) for name in ("image_id", "file_name", "height", "width", "jpeg")}
    return photos.Record(**{**fields, **changes})


def test_a_photo_alone_reads_back():
    assert photos.decode_record(photos.encode_record(photo())) == photo()
    named = photo(file_name="sub/ä b.jpg")
    assert photos.decode_record(photos.encode_record(named)) == named


def test_the_schema_of_photos_is_a_part_of_that_of_masks():
    (part,) = photos.features().keys()
    assert photos.features()[part].get_tensor_info() == records.features()[part].get_tensor_info()
    assert len(photos.encode_record(photo())) < len(records.encode_record(record(7)))


def test_a_photo_comes_out_of_a_record_with_masks_that_may_be_broken():
    assert photos.decode_record(records.encode_record(record(7))) == photo()
    broken = with_size(record(7), (24, 31))
    with pytest.raises(records.RecordError, match="annotation 1"):
        records.decode_record(broken)
    assert photos.decode_record(broken) == photo()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a record of the photos schema"),
        (b"junk" * 20, "not a record of the photos schema"),
        (photos.encode_record(photo())[:-7], "not a record of the photos schema"),
        (photos.encode_record(photo(image_id=2**31)), "31 bits"),
        (photos.encode_record(photo(height=0)), "photo size 0 x 32"),
        (photos.encode_record(photo(height=2**40)), "photo size"),
    ],
)
def test_a_broken_photo_record_is_refused_with_the_reason(data, says):
    with pytest.raises(records.RecordError, match=says):
        photos.decode_record(data)


def test_a_record_of_photos_alone_has_no_masks():
    with pytest.raises(records.RecordError, match="not a record of the segment_anything schema"):
        records.decode_record(photos.encode_record(photo()))
