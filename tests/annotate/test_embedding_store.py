"""Embeddings on disk: of one content and one encoder, whole or absent, within a bound, and good enough at 16 bits."""

import os
import time

import numpy as np
import pytest

from samjax.annotate.embedding_store import EmbeddingStore, EmbeddingStoreConfig
from samjax.core.errors import UserError

SHAPE = (4, 4, 64)
ENCODER = {"frame": [64, 64], "weights": "ab" * 32}


def open_store(folder, *, room: int = 20, precision: str = "float32", encoder=ENCODER) -> EmbeddingStore:
    """Return a store with room for so many embeddings, and half of one more."""
    size = 128 + 16 + 4 * int(np.prod(SHAPE)) // (1 if precision == "float32" else 2)
    config = EmbeddingStoreConfig(gigabytes=(room + 0.5) * size / 1e9, precision=precision)
    return EmbeddingStore(folder, encoder=encoder, shape=SHAPE, config=config)


def drawn(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


def fill(store: EmbeddingStore, count: int) -> list[bytes]:
    """Write embeddings, each used a second after the one before, up to now."""
    keys = [store.key(bytes([number])) for number in range(count)]
    for number, key in enumerate(keys):
        store.write(key, drawn(number))
        age(store, key, seconds=count - number)
    return keys


def age(store: EmbeddingStore, key: bytes, *, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(store._cache.path(key), (then, then))


def test_what_is_written_is_read_by_this_and_other_processes(tmp_path):
    store = open_store(tmp_path)
    key = store.key(b"a photo")
    assert not store.holds(key)
    assert store.read(key) is None
    store.write(key, drawn())
    for reader in (store, open_store(tmp_path)):
        assert reader.holds(key)
        np.testing.assert_array_equal(reader.read(key), drawn())


def test_a_key_is_the_content(tmp_path):
    store = open_store(tmp_path)
    assert store.key(b"a photo") == open_store(tmp_path / "other").key(b"a photo") != store.key(b"a photo\0")
    assert len(store.key(b"")) == 32


@pytest.mark.parametrize(
    "other",
    [
        {"encoder": {**ENCODER, "weights": "cd" * 32}},
        {"encoder": {**ENCODER, "frame": [64, 96]}},
        {"precision": "float16"},
    ],
)
def test_another_encoder_frame_or_precision_has_its_own(tmp_path, other):
    store, another = open_store(tmp_path), open_store(tmp_path, **other)
    key = store.key(b"a photo")
    store.write(key, drawn())
    assert another.read(key) is None
    another.write(key, drawn(1))
    np.testing.assert_array_equal(store.read(key), drawn())


def test_sixteen_bits_are_half_the_bytes_and_near(tmp_path):
    store, half = open_store(tmp_path / "32"), open_store(tmp_path / "16", precision="float16")
    key = store.key(b"a photo")
    half.write(key, drawn())
    found = half.read(key)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, drawn(), rtol=2**-11, atol=2**-24)
    assert not np.array_equal(found, drawn())
    assert half.bytes_per_photo - 144 == (store.bytes_per_photo - 144) / 2
    assert half.size() == half.bytes_per_photo


def test_the_embeddings_used_longest_ago_are_deleted_first(tmp_path):
    store = open_store(tmp_path, room=20)
    assert store.capacity == 20
    keys = fill(store, 20)
    store.read(keys[0])  # used now
    for number in range(3):
        store.write(store.key(b"new" + bytes([number])), drawn())
    assert [number for number, key in enumerate(keys) if not store.holds(key)] == [1, 2, 3]
    assert store.size() == 20 * store.bytes_per_photo


def test_other_encoders_embeddings_count_and_age_out(tmp_path):
    old, new = open_store(tmp_path), open_store(tmp_path, encoder={**ENCODER, "weights": "cd" * 32})
    keys = fill(old, 20)
    for key in keys[:8]:
        new.write(key, drawn())
    assert [old.holds(key) for key in keys] == [False] * 8 + [True] * 12
    assert all(new.holds(key) for key in keys[:8])


def test_the_bound_holds_whatever_is_written(tmp_path):
    store = open_store(tmp_path, room=16)
    for number in range(60):
        store.write(store.key(bytes([number])), drawn())
        assert store.size() <= store.config.gigabytes * 1e9
        assert store.holds(store.key(bytes([number])))


def test_what_was_there_before_the_bound_was_lowered_goes(tmp_path):
    keys = fill(open_store(tmp_path, room=30), 30)
    store = open_store(tmp_path, room=16)
    store.write(store.key(b"new"), drawn())
    assert sum(store.holds(key) for key in keys) == 15


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: data[:200] + b"x" + data[201:]])
def test_a_damaged_file_counts_as_absent_and_is_told(tmp_path, damage, caplog):
    store = open_store(tmp_path)
    key = store.key(b"a photo")
    store.write(key, drawn())
    path = store._cache.path(key)
    path.write_bytes(damage(path.read_bytes()))
    assert store.read(key) is None
    assert not path.exists()
    assert "is damaged" in caplog.text
    assert "encoded again when it is needed" in caplog.text
    store.write(key, drawn())
    np.testing.assert_array_equal(store.read(key), drawn())


def test_partial_files_of_a_killed_process_are_removed(tmp_path):
    store = open_store(tmp_path)
    key = store.key(b"a photo")
    store.write(key, drawn())
    folder = store._cache.path(key).parent
    stale, fresh = (folder / f".{name}.npy.1.partial" for name in ("stale", "fresh"))
    for path in (stale, fresh):
        path.write_bytes(b"x")
    os.utime(stale, (0, 0))
    store.write(store.key(b"another"), drawn())
    assert (stale.exists(), fresh.exists()) == (False, True)


def test_a_store_that_cannot_be_used_says_so(tmp_path):
    with pytest.raises(UserError, match=r"embeddings.gigabytes is 1e-06, and an embedding takes .* room for 16"):
        EmbeddingStore(tmp_path, encoder=ENCODER, shape=SHAPE, config=EmbeddingStoreConfig(gigabytes=1e-6))
    with pytest.raises(UserError, match=r"embeddings\.gigabytes is 0"):
        EmbeddingStoreConfig(gigabytes=0.0)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file, expected a folder: give another --cache"):
        open_store(tmp_path / "file")
