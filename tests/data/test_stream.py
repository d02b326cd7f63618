import dataclasses
import json
import logging
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from shards import record

from samjax.core.errors import UserError
from samjax.core.types import unpack_masks
from samjax.data import pipeline, records, rle
from samjax.data.layout import Layout
from samjax.data.loader import DataConfig, train_stream, validation_batches
from samjax.data.progress import Progress
from samjax.data.sources import open_source
from samjax.data.transforms import fitted_size, resize_mask

SIZE = (64, 72)


@pytest.fixture
def config(prepared):
    return DataConfig(source=str(prepared / "train"), max_masks=5, threads=2, prefetch_photos=8)


@pytest.fixture
def start():
    """Start streams that are closed after the test."""
    streams = []

    def begin(config, *, batch_size=6, seed=0, sharding=None, size=SIZE):
        streams.append(train_stream(config, image_size=size, batch_size=batch_size, seed=seed, sharding=sharding))
        return streams[-1]

    yield begin
    for stream in streams:
        stream.close()


def take(stream, count):
    return [jax.tree.map(np.asarray, next(stream)) for _ in range(count)]


def assert_equal(left, right):
    for one, other in zip(left, right, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)


def ids(batches):
    return np.concatenate([batch.record_id for batch in batches]).tolist()


def test_a_batch_holds_photos_and_their_masks(config, start, prepared):
    """Every drawn mask is one of its photo's, at the photo's place in the frame."""
    (batch,) = take(start(config), 1)
    assert batch.image.shape == (6, *SIZE, 3)
    assert batch.masks.shape == (6, 5, 64, 9)
    assert {name: str(value.dtype) for name, value in vars(batch).items()} == {
        "image": "uint8",
        "valid_size": "int32",
        "masks": "uint8",
        "mask_valid": "bool",
        "record_id": "int32",
    }
    source = open_source(config.source, "train")
    by_id = {item.image_id: item for item in (records.decode_record(source[index]) for index in range(len(source)))}
    unpacked = np.asarray(unpack_masks(jnp.asarray(batch.masks), SIZE[1]))
    for row in range(6):
        item = by_id[int(batch.record_id[row])]
        height, width = fitted_size(height=item.height, width=item.width, frame=SIZE)
        assert batch.valid_size[row].tolist() == [height, width]
        assert not batch.image[row, height:].any()
        assert not batch.image[row, :, width:].any()
        assert batch.mask_valid[row].sum() == min(5, len(item.annotations))
        masks = [rle.decode(mask.counts, height=item.height, width=item.width) for mask in item.annotations]
        known = {resize_mask(mask, size=(height, width)).tobytes() for mask in masks}
        for mask, valid in zip(unpacked[row], batch.mask_valid[row], strict=True):
            assert not mask[height:].any()
            assert not mask[:, width:].any()
            assert mask.any() == valid
            if valid:
                assert np.ascontiguousarray(mask[:height, :width]).tobytes() in known


def test_an_epoch_has_every_photo_once_in_an_order_of_its_own(config, start):
    found = ids(take(start(config), 21))
    first, second, third = found[:42], found[42:84], found[84:]
    assert len(set(first)) == 42
    assert sorted(first) == sorted(second) == sorted(third)
    assert first != second
    assert second != third
    assert ids(take(start(config, seed=1), 7)) != first


def test_masks_are_drawn_afresh_each_epoch(config, start):
    batches = take(start(dataclasses.replace(config, max_masks=1)), 14)
    masks = {}
    for batch in batches:
        for identifier, mask in zip(batch.record_id.tolist(), batch.masks, strict=True):
            masks.setdefault(identifier, []).append(mask.tobytes())
    assert sum(first != second for first, second in masks.values()) > 20


def faulty(count=400, bad=()):
    contents = [record(number) for number in range(count)]
    for index in bad:
        contents[index] = b"not a record"
    contents[11] = record(11, [])
    return contents


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_a_restored_stream_goes_on_bit_for_bit(write_dataset, start, taken):
    """Order, masks, skipped records and counts, across the border of an epoch, whatever was prepared ahead."""
    folder = write_dataset(faulty(50, bad=[7]))
    config = DataConfig(source=str(folder), max_masks=1, threads=2, prefetch_photos=8)
    whole = start(config, batch_size=16)
    batches, counts = [], []
    for _ in range(9):
        batches += take(whole, 1)
        counts.append(whole.counts)
    assert counts[-1].corrupt > 0
    assert counts[-1].without_masks > 0

    interrupted = start(dataclasses.replace(config, prefetch_batches=3), batch_size=16)
    assert_equal(take(interrupted, taken), batches[:taken])
    state = interrupted.get_state()
    assert state == interrupted.get_state()
    resumed = start(dataclasses.replace(config, prefetch_batches=1, threads=1), batch_size=16)
    take(resumed, 2)
    resumed.set_state(state)
    resumed.start_prefetch()
    for index in range(taken, 9):
        assert_equal(take(resumed, 1), batches[index : index + 1])
        assert resumed.counts == counts[index]


def test_the_state_goes_through_grains_checkpoint(config, start, tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    grain_checkpoint = pytest.importorskip("grain.checkpoint")
    stream = start(config)
    take(stream, 3)
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        manager.save(3, args=ocp.args.Composite(data=grain_checkpoint.CheckpointSave(stream)))
        manager.wait_until_finished()
        expected = take(stream, 2)
        other = start(config)
        manager.restore(3, args=ocp.args.Composite(data=grain_checkpoint.CheckpointRestore(other)))
    assert_equal(take(other, 2), expected)


def test_a_state_of_another_stream_is_refused(config, start):
    state = start(config).get_state()
    for other, says in ((start(config, batch_size=7), "batch_size 6"), (start(config, seed=3), "seed 0")):
        with pytest.raises(UserError, match=says):
            other.set_state(state)
    for damaged in (b"", b"{}", b"[]", state.replace(b"counts", b"count")):
        with pytest.raises(UserError, match="damaged"):
            start(config).set_state(damaged)


def test_a_photo_of_its_own_row_whatever_the_processes():
    """The processes' rows put together are the batches one process would make."""
    alone = pipeline.Rows(np.arange(8), batch_size=8)
    parts = [pipeline.Rows(np.arange(first, first + 2), batch_size=8) for first in (0, 2, 4, 6)]
    for batch in range(3):
        whole = [alone[batch * 8 + row] for row in range(8)]
        assert whole == [(0, batch * 8 + row) for row in range(8)]
        assert [part[batch * 2 + row] for part in parts for row in range(2)] == whole
    late = pipeline.Rows(np.array([1, 5]), batch_size=8, start=5)
    assert [late[index] for index in range(4)] == [(0, 21), (0, 25), (0, 29), (0, 33)]


def mesh_sharding(spec, **axes):
    mesh = jax.make_mesh(tuple(axes.values()), tuple(axes), axis_types=(AxisType.Auto,) * len(axes))
    return NamedSharding(mesh, spec)


@pytest.mark.parametrize(
    "sharding",
    [
        lambda: mesh_sharding(PartitionSpec("data"), data=8),
        lambda: mesh_sharding(PartitionSpec(("data", "fsdp")), data=2, fsdp=2, tensor=2),
        lambda: mesh_sharding(PartitionSpec("fsdp"), data=2, fsdp=4),
        lambda: mesh_sharding(PartitionSpec(), data=8),
    ],
)
def test_a_sharded_batch_is_the_same_batch(config, start, sharding):
    (plain,) = take(start(config, batch_size=8), 1)
    batch = next(start(config, batch_size=8, sharding=sharding()))
    assert batch.image.sharding.is_equivalent_to(sharding(), 4)
    assert batch.record_id.sharding.is_equivalent_to(sharding(), 1)
    assert_equal([jax.tree.map(np.asarray, batch)], [plain])


def test_a_batch_that_the_mesh_cannot_split_is_refused(config):
    for batch_size in (6, 12):
        with pytest.raises(UserError, match=f"batch size {batch_size} cannot be divided over the 8 devices"):
            train_stream(
                config,
                image_size=SIZE,
                batch_size=batch_size,
                seed=0,
                sharding=mesh_sharding(PartitionSpec("data"), data=8),
            )


def test_a_corrupt_record_is_skipped_counted_and_named(write_dataset, start, caplog):
    broken_photo = dataclasses.replace(record(33), jpeg=record(33).jpeg[:-200])
    contents = faulty(400, bad=[5])
    contents[33] = broken_photo
    stream = start(DataConfig(source=str(write_dataset(contents)), threads=2), batch_size=10)
    found = ids(take(stream, 39))
    stream.close()
    assert not {5, 33, 11} & set(found)
    counts = stream.counts
    assert counts.records - counts.corrupt - counts.without_masks == 390
    assert counts.masks == 390 * 2
    take(stream, 1)
    assert stream.counts.corrupt == 2
    assert stream.counts.without_masks == 1
    warnings = [line.getMessage() for line in caplog.records if line.levelno == logging.WARNING]
    assert len({line.split(":")[0] for line in warnings}) == 2
    assert any("record 5: not a record of the segment_anything schema" in line for line in warnings)
    assert any("record 33 (image 33): JPEG cannot be decoded" in line for line in warnings)


def corrupted(kind, number):
    item = record(number)
    if kind == "bytes":
        return b"\x00" * 40
    if kind == "photo":
        return dataclasses.replace(item, jpeg=b"GIF89a")
    if kind == "size":
        return dataclasses.replace(item, jpeg=record(number, height=30, width=40).jpeg)
    mask = dataclasses.replace(item.annotations[1], counts="0")
    return dataclasses.replace(item, annotations=(item.annotations[0], mask))


@pytest.mark.parametrize("kind", ["bytes", "photo", "size", "mask"])
def test_above_one_percent_the_stream_stops(write_dataset, start, kind):
    contents = [record(number) if number % 40 else corrupted(kind, number) for number in range(200)]
    stream = start(DataConfig(source=str(write_dataset(contents)), threads=2), batch_size=10)
    with pytest.raises(UserError, match=r"3 of [\d,]+ records are corrupt, more than 1%"):
        take(stream, 21)
    with pytest.raises(UserError, match="3 of"):
        next(stream)


def test_one_percent_a_pass_goes_on_for_ever(write_dataset, start):
    """Counted over an epoch: the same bad records come again in every one."""
    stream = start(DataConfig(source=str(write_dataset(faulty(200, bad=[3, 4]))), threads=2), batch_size=40)
    take(stream, 24)
    assert stream.counts.corrupt >= 8


def test_bad_records_are_judged_by_their_own_epoch():
    """Else the good epochs of a long run would hide a set that went bad."""
    bad = pipeline.Dropped(name="record 3", fault=pipeline.Fault.CORRUPT, reason="")
    progress = Progress()
    for position in range(25):
        progress = progress.count(bad, first_of_epoch=position % 10 == 0)
    assert (progress.seen_this_epoch, progress.corrupt_this_epoch) == (5, 5)
    assert (progress.position, progress.counts.records, progress.counts.corrupt) == (25, 25, 25)


@pytest.mark.parametrize("count", [1, 30])
def test_data_without_a_usable_photo_raises(write_dataset, start, count):
    """It must not look for one for ever."""
    whole = np.ones((1, 24, 32), bool)
    contents = [record(number, whole if number % 2 else []) for number in range(count)]
    stream = start(DataConfig(source=str(write_dataset(contents)), threads=2), batch_size=4)
    with pytest.raises(UserError, match=r"none of .* records in a row can be used"):
        next(stream)


def test_all_corrupt_raises(write_dataset, start):
    stream = start(DataConfig(source=str(write_dataset([b"junk"] * 30)), threads=2), batch_size=4)
    with pytest.raises(UserError, match="2 of 2 records are corrupt"):
        next(stream)
    single = start(DataConfig(source=str(write_dataset([b"junk"], "single")), threads=2), batch_size=4)
    with pytest.raises(UserError, match="none of 1 records"):
        next(single)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_masks": 0}, "max_masks is 0"),
        ({"max_area_fraction": 0.0}, "max_area_fraction"),
        ({"workers": -1}, "workers is -1"),
        ({"source": "/nowhere/at/all"}, "/nowhere/at/all is not a folder"),
        ({"split": "val"}, "no split 'val'"),
    ],
)
def test_wrong_settings_are_one_sentence(config, start, changes, says):
    with pytest.raises(UserError, match=says):
        start(dataclasses.replace(config, **changes))
    with pytest.raises(UserError, match=says):
        list(validation_batches(dataclasses.replace(config, **changes), image_size=SIZE, batch_size=2))


def test_worker_processes_give_the_same_stream(write_dataset, start):
    """Skipped records too are counted across the border of the processes."""
    config = DataConfig(source=str(write_dataset(faulty(60, bad=[7]))), max_masks=1, threads=1, prefetch_photos=8)
    threads = start(config, batch_size=16)
    expected = take(threads, 8)
    workers = start(dataclasses.replace(config, workers=2), batch_size=16)
    assert_equal(take(workers, 5), expected[:5])
    state = workers.get_state()
    workers.close()
    again = start(dataclasses.replace(config, workers=1), batch_size=16)
    again.set_state(state)
    assert_equal(take(again, 3), expected[5:])
    assert again.counts == threads.counts
    assert again.counts.corrupt >= 1


def test_the_next_batch_is_prepared_in_the_background(config, start):
    stream = start(config)
    stream.start_prefetch()
    before = json.loads(stream.get_state())
    assembler = stream._ahead._assembler
    for _ in range(200):
        if assembler._progress.position >= 12:
            break
        time.sleep(0.05)
    assert assembler._progress.position == 12  # two batches, and not more
    assert before == json.loads(stream.get_state())


def test_validation_is_one_pass_in_order_always_the_same(prepared):
    config = DataConfig(source=str(prepared / "val"), split="val", max_masks=3, threads=2)
    first = [jax.tree.map(np.asarray, batch) for batch in validation_batches(config, image_size=SIZE, batch_size=10)]
    again = [jax.tree.map(np.asarray, batch) for batch in validation_batches(config, image_size=SIZE, batch_size=10)]
    assert_equal(first, again)
    source = open_source(config.source, "val")
    order = [records.decode_record(source[index]).image_id for index in range(53)]
    assert ids(first) == order + [-1] * 7
    assert not first[-1].mask_valid[3:].any()
    assert not first[-1].image[3:].any()
    limited = list(validation_batches(config, image_size=SIZE, batch_size=10, limit=15))
    assert ids(limited) == order[:15] + [-1] * 5
    sharding = mesh_sharding(PartitionSpec("data"), data=8)
    sharded = list(validation_batches(config, image_size=SIZE, batch_size=16, sharding=sharding, limit=21))
    assert ids(sharded) == order[:21] + [-1] * 11


def test_validation_leaves_rows_of_bad_records_empty(write_dataset, caplog):
    config = DataConfig(source=str(write_dataset(faulty(20, bad=[7]))), threads=2)
    batches = list(validation_batches(config, image_size=SIZE, batch_size=8))
    expected = [-1 if index in (7, 11) or index >= 20 else index for index in range(24)]
    assert ids(batches) == expected
    assert "record 7" in caplog.text
    config = DataConfig(source=str(write_dataset(faulty(20, bad=[7, 9]), "worse")), threads=2)
    with pytest.raises(UserError, match="2 of 10 records are corrupt"):
        list(validation_batches(config, image_size=SIZE, batch_size=8))


class PartOfTheMesh(jax.sharding.Sharding):
    """A sharding of which this process has some devices."""

    num_devices = 4

    def __init__(self, *places):
        self.places = places

    def shard_shape(self, shape):
        return shape

    def addressable_devices_indices_map(self, shape):
        return dict(enumerate((slice(*place),) for place in self.places))


def test_a_process_holds_the_rows_of_its_devices():
    """Devices that share rows (tensor parallel) or lie apart must give each row once, in order."""
    sharding = PartOfTheMesh((4, 6), (0, 2), (4, 6))
    layout = Layout(image_size=(4, 4), max_masks=1, batch_size=8, sharding=sharding)
    assert layout.rows.tolist() == [0, 1, 4, 5]
