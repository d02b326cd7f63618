import dataclasses
import logging

import numpy as np
import pytest
from shards import record
from streams import SIZE, faulty, ids, mask_validation, take

from samjax.core.errors import MachineError, UserError
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.data.stream import example as pipeline
from samjax.data.stream import readers
from samjax.data.stream.position import Position


def test_the_row_of_a_record_that_cannot_be_used_is_empty_counted_and_named(write_dataset, start, caplog):
    broken_photo = dataclasses.replace(record(33), jpeg=record(33).jpeg[:-200])
    contents = faulty(400, bad=[5])
    contents[33] = broken_photo
    stream = start(MaskDataConfig(source=str(write_dataset(contents)), threads=2), batch_size=10)
    batches = take(stream, 40)
    found = ids(batches)
    assert sorted(found) == [-1] * 3 + sorted(set(range(400)) - {5, 33, 11})
    for batch in batches:
        empty = batch.record_id == -1
        assert (batch.mask_valid.sum(axis=1) == np.where(empty, 0, 2)).all()
        assert not batch.image[empty].any()
        assert not batch.masks[empty].any()
        assert not batch.valid_size[empty].any()
    counts = stream.counts
    assert (counts["records"], counts["corrupt"], counts["without_masks"], counts["masks"]) == (400, 2, 1, 397 * 2)
    warnings = [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]
    assert len({line.split(":")[0] for line in warnings}) == 2
    assert all("its row stays empty" in line.lower() for line in warnings)
    assert any("record 5: not a record of the segment_anything schema" in line for line in warnings)
    assert any("record 33 (image 33): JPEG cannot be decoded" in line for line in warnings)


def corrupted(kind, number):
    item = record(number)
    if kind == "bytes":
        return b"\x00" * 40
    if kind == "photo":
        return dataclasses.replace(item, jpeg=b"GIF89a")
    if kind == "truncated":
        return dataclasses.replace(item, jpeg=item.jpeg[: len(item.jpeg) // 2])
    if kind == "bomb":  # a few hundred bytes that claim four thousand million pixels
        at = item.jpeg.index(b"\xff\xc0") + 5
        return dataclasses.replace(item, jpeg=item.jpeg[:at] + b"\xfd\xe8\xfd\xe8" + item.jpeg[at + 4 :])
    if kind == "huge":
        return dataclasses.replace(item, height=10**9, width=10**9)
    if kind == "size":
        return dataclasses.replace(item, jpeg=record(number, height=30, width=40).jpeg)
    mask = dataclasses.replace(item.annotations[1], counts="0")
    return dataclasses.replace(item, annotations=(item.annotations[0], mask))


@pytest.mark.parametrize("kind", ["bytes", "photo", "truncated", "bomb", "huge", "size", "mask"])
def test_above_one_percent_the_stream_stops(write_dataset, start, kind):
    contents = [record(number) if number % 40 else corrupted(kind, number) for number in range(200)]
    stream = start(MaskDataConfig(source=str(write_dataset(contents)), threads=2), batch_size=10)
    with pytest.raises(UserError, match=r"3 of [\d,]+ records are corrupt, more than 1%"):
        take(stream, 21)
    with pytest.raises(UserError, match="3 of"):
        next(stream)


def test_one_percent_a_pass_goes_on_for_ever(write_dataset, start):
    """Counted over an epoch: the same bad records come again in every one."""
    stream = start(MaskDataConfig(source=str(write_dataset(faulty(200, bad=[3, 4]))), threads=2), batch_size=40)
    take(stream, 24)
    assert stream.counts["corrupt"] >= 8


def test_bad_records_are_judged_by_their_own_epoch():
    """Else the good epochs of a long run would hide a set that went bad."""
    bad = pipeline.DroppedRecord(name="record 3", fault=pipeline.Fault.CORRUPT, reason="")
    progress = Position()
    for position in range(25):
        progress = progress.count(bad, epoch=position // 10)
    assert (progress.seen_this_epoch, progress.corrupt_this_epoch) == (5, 5)
    assert (progress.counts["records"], progress.counts["corrupt"]) == (25, 25)


@pytest.mark.parametrize("count", [1, 30])
def test_data_without_a_usable_photo_raises(write_dataset, start, count):
    """It must not look for one for ever."""
    whole = np.ones((1, 24, 32), bool)
    contents = [record(number, whole if number % 2 else []) for number in range(count)]
    stream = start(MaskDataConfig(source=str(write_dataset(contents)), threads=2), batch_size=4)
    with pytest.raises(
        UserError, match=rf"none of {2 * count} records in a row can be used; the last was .* too large"
    ):
        take(stream, 2 * count)


def test_one_usable_record_is_enough(write_dataset, start):
    """However the others come between, also at the border of an epoch."""
    contents = [record(number, []) for number in range(30)]
    contents[17] = record(17)
    stream = start(MaskDataConfig(source=str(write_dataset(contents)), threads=2), batch_size=4)
    assert ids(take(stream, 60)).count(17) == 8


def test_all_corrupt_raises(write_dataset, start):
    stream = start(MaskDataConfig(source=str(write_dataset([b"junk"] * 30)), threads=2), batch_size=4)
    with pytest.raises(UserError, match="2 of 2 records are corrupt"):
        next(stream)
    single = start(MaskDataConfig(source=str(write_dataset([b"junk"], "single")), threads=2), batch_size=4)
    with pytest.raises(UserError, match="none of 2 records"):
        next(single)


def test_validation_leaves_rows_of_bad_records_empty(write_dataset, caplog):
    config = MaskDataConfig(source=str(write_dataset(faulty(20, bad=[7]))), threads=2)
    batches = list(mask_validation(config, image_size=SIZE, batch_size=8))
    expected = [-1 if index in (7, 11) or index >= 20 else index for index in range(24)]
    assert ids(batches) == expected
    assert "record 7" in caplog.text
    config = MaskDataConfig(source=str(write_dataset(faulty(20, bad=[7, 9]), "worse")), threads=2)
    with pytest.raises(UserError, match="2 of 10 records are corrupt"):
        list(mask_validation(config, image_size=SIZE, batch_size=8))


def test_a_stream_stops_where_the_machine_fails_and_does_not_blame_the_data(write_dataset, start, monkeypatch):
    """One such record is enough: the next would fail too, and an epoch of empty rows is no epoch."""

    def no_descriptor(*_):
        raise MachineError("shard cannot be read (Too many open files: raise the limit)")

    config = MaskDataConfig(source=str(write_dataset([record(number) for number in range(200)])), threads=2)
    monkeypatch.setattr(readers.Shards, "read", no_descriptor)
    with pytest.raises(MachineError, match=r"record \d+: .*Too many open files.*the data is not at fault"):
        next(start(config, batch_size=4))
    with pytest.raises(MachineError, match="Too many open files"):
        next(mask_validation(config, image_size=SIZE, batch_size=4))
