import contextlib
import dataclasses
import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from streams import SIZE, assert_equal, faulty, ids, mask_stream, mask_validation, mesh_sharding, take

from samjax.core.batches import unpack_masks
from samjax.core.errors import CorruptCheckpointError, UserError
from samjax.data.masks import rle
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.data.masks.packing import fitted_size, resize_mask
from samjax.data.records import masks as records
from samjax.data.stream.position import Position
from samjax.data.stream.sources import open_source


def test_a_batch_holds_photos_and_their_masks(config, start, prepared):
    """Every drawn mask is one of its photo's, at the photo's place in the frame."""
    (batch,) = take(start(config), 1)
    assert batch.image.shape == (6, *SIZE, 3)
    assert batch.masks.shape == (6, 5, 64, 9)
    assert batch.embedding is None
    assert {name: str(value.dtype) for name, value in vars(batch).items() if name != "embedding"} == {
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


@pytest.mark.parametrize("taken", [0, 1, 4])
def test_a_restored_stream_goes_on_bit_for_bit(write_dataset, start, taken):
    """Order, masks, skipped records and counts, across the border of an epoch, whatever was prepared ahead."""
    folder = write_dataset(faulty(50, bad=[7]))
    config = MaskDataConfig(source=str(folder), max_masks=1, threads=2, prefetch_photos=8)
    whole = start(config, batch_size=16)
    batches, counts = [], []
    for _ in range(9):
        batches += take(whole, 1)
        counts.append(whole.counts)
    assert counts[-1]["corrupt"] > 0
    assert counts[-1]["without_masks"] > 0

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


def test_a_state_with_any_bit_flipped_is_refused_or_the_same(config, start):
    state = start(config).get_state()
    whole = Position.from_json(state, "part", "stream")
    for place in range(8 * len(state)):
        damaged = bytearray(state)
        damaged[place // 8] ^= 1 << place % 8
        with contextlib.suppress(CorruptCheckpointError):
            assert Position.from_json(bytes(damaged), "part", "stream") == whole
    for damaged in (
        *(b"", b"{}", b"[]", b"null", state[:-1], state[: len(state) // 2]),
        state.replace(b"counts", b"count"),
        state.replace(b'"step": 0', b'"step": -1'),
        state.replace(b'"step": 0', b'"step": 1.5'),
        state.replace(b'"step": 0,', b""),
        state.replace(b'"corrupt": 0', b'"corrupt": "0"'),
    ):
        assert damaged != state
        with pytest.raises(CorruptCheckpointError, match="position in the data is damaged"):
            start(config).set_state(damaged)


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
            mask_stream(
                config,
                image_size=SIZE,
                batch_size=batch_size,
                seed=0,
                sharding=mesh_sharding(PartitionSpec("data"), data=8),
            )


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
        list(mask_validation(dataclasses.replace(config, **changes), image_size=SIZE, batch_size=2))


def test_worker_processes_give_the_same_stream(write_dataset, start):
    """Skipped records too are counted across the border of the processes."""
    config = MaskDataConfig(source=str(write_dataset(faulty(60, bad=[7]))), max_masks=1, threads=1, prefetch_photos=8)
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
    assert again.counts["corrupt"] >= 1


def test_the_next_batch_is_prepared_in_the_background(config, start):
    stream = start(config)
    stream.start_prefetch()
    before = json.loads(stream.get_state())
    assembler = stream._ahead._assembler
    for _ in range(200):
        if assembler._position.step >= 2:
            break
        time.sleep(0.05)
    time.sleep(0.2)
    assert assembler._position.step == 2  # two batches, and not more
    assert before == json.loads(stream.get_state())


def test_validation_is_one_pass_in_order_always_the_same(prepared):
    config = MaskDataConfig(source=str(prepared / "val"), split="val", max_masks=3, threads=2)
    first = [jax.tree.map(np.asarray, batch) for batch in mask_validation(config, image_size=SIZE, batch_size=10)]
    again = [jax.tree.map(np.asarray, batch) for batch in mask_validation(config, image_size=SIZE, batch_size=10)]
    assert_equal(first, again)
    source = open_source(config.source, "val")
    order = [records.decode_record(source[index]).image_id for index in range(53)]
    assert ids(first) == order + [-1] * 7
    assert not first[-1].mask_valid[3:].any()
    assert not first[-1].image[3:].any()
    limited = list(mask_validation(config, image_size=SIZE, batch_size=10, limit=15))
    assert ids(limited) == order[:15] + [-1] * 5
    sharding = mesh_sharding(PartitionSpec("data"), data=8)
    sharded = list(mask_validation(config, image_size=SIZE, batch_size=16, sharding=sharding, limit=21))
    assert ids(sharded) == order[:21] + [-1] * 11
