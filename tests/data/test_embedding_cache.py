"""A cache of embeddings returns what was written, and names whatever else is in its folder."""

import dataclasses

import numpy as np
import pytest

from samjax.core.errors import MachineError, UserError
from samjax.data.embedding_cache import EmbeddingCache, photo_key
from samjax.data.frame import Decoding
from samjax.data.masks import mask_data
from samjax.data.masks.embedding_rows import EmbeddingExamples
from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
from samjax.data.photo import PhotoError
from samjax.data.records import masks as records
from samjax.data.records import photos
from samjax.data.stream.sources import open_source

SHAPE, FRAME = (2, 3, 4), (64, 64)
ENCODER = {"frame": [64, 64], "weights": "ab" * 32}
KEY = bytes(range(32))


def drawn(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def cache(tmp_path):
    cache = EmbeddingCache(tmp_path / "cache", shape=SHAPE)
    cache.open_for(ENCODER)
    return cache


@pytest.fixture(scope="module")
def record():
    return records.decode_record(open_source("synthetic:photos=2,size=64", "train")[0])


def test_what_is_written_is_read(cache):
    assert not cache.holds(KEY)
    assert cache.read(KEY) is None
    cache.write(KEY, drawn())
    again = EmbeddingCache(cache.folder, shape=SHAPE)
    again.open_for(ENCODER)
    assert again.holds(KEY)
    np.testing.assert_array_equal(again.read(KEY), drawn())
    np.testing.assert_array_equal(np.load(cache.path(KEY), allow_pickle=False), drawn())
    assert cache.path(KEY).stat().length == cache.bytes_per_photo


def test_half_the_bytes_hold_eleven_bits_of_each_number(cache, tmp_path):
    half = EmbeddingCache(tmp_path / "half", shape=SHAPE, dtype="float16")
    half.open_for(ENCODER)
    half.write(KEY, drawn())
    assert half.holds(KEY)
    assert cache.bytes_per_photo - half.bytes_per_photo == 2 * drawn().size
    found = half.read(KEY)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, drawn().astype(np.float16))
    np.testing.assert_array_equal(np.load(half.path(KEY), allow_pickle=False), drawn().astype(np.float16))


@pytest.mark.parametrize("place", [0, 60, 130, -1])
def test_a_changed_byte_is_found_and_the_file_is_named(cache, place):
    cache.write(KEY, drawn())
    data = bytearray(cache.path(KEY).read_bytes())
    data[place] ^= 1
    cache.path(KEY).write_bytes(data)
    with pytest.raises(MachineError, match=rf"{KEY.hex()}\.npy is damaged, or of another encoder; delete that file"):
        cache.read(KEY)


def test_a_cut_file_is_named(cache):
    cache.write(KEY, drawn())
    cache.path(KEY).write_bytes(cache.path(KEY).read_bytes()[:-20])
    with pytest.raises(UserError, match=rf"{KEY.hex()}\.npy is damaged: \d+ bytes, expected {cache.bytes_per_photo}"):
        cache.holds(KEY)
    with pytest.raises(MachineError, match="is damaged"):
        cache.read(KEY)


def test_a_file_of_another_photo_or_encoder_is_not_taken(cache, tmp_path):
    other = EmbeddingCache(tmp_path / "other", shape=SHAPE)
    other.open_for({**ENCODER, "weights": "cd" * 32})
    other.write(KEY, drawn())
    cache.path(KEY).parent.mkdir()
    cache.path(KEY).write_bytes(other.path(KEY).read_bytes())
    with pytest.raises(MachineError, match="of another encoder"):
        cache.read(KEY)
    cache.write(KEY, drawn())
    second = KEY[::-1]
    cache.path(second).parent.mkdir()
    cache.path(second).write_bytes(cache.path(KEY).read_bytes())
    with pytest.raises(MachineError, match="is damaged"):
        cache.read(second)


@pytest.mark.parametrize(
    ("encoder", "sentence"),
    [
        ({**ENCODER, "weights": "cd" * 32}, r"whose weights is abababababab\.\.\., this run's is cdcdcdcdcdcd\.\.\.: "),
        ({**ENCODER, "frame": [64, 96]}, "whose frame is 64 x 64, this run's is 64 x 96: give another folder"),
        ({**ENCODER, "dtype": "bfloat16"}, "whose dtype is None, this run's is bfloat16"),
    ],
)
def test_a_folder_of_another_encoder_is_refused_and_stays(cache, encoder, sentence):
    cache.write(KEY, drawn())
    for check in (cache.check_encoder, cache.open_for):
        with pytest.raises(UserError, match=sentence):
            check(encoder)
    assert cache.check_encoder(ENCODER)
    np.testing.assert_array_equal(cache.read(KEY), drawn())


def test_a_folder_that_is_no_cache_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"--cache-embeddings .* holds other files, and no manifest\.json"):
        EmbeddingCache(tmp_path, shape=SHAPE).open_for(ENCODER)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json is damaged"):
        EmbeddingCache(tmp_path, shape=SHAPE).open_for(ENCODER)
    with pytest.raises(UserError, match="is a file, expected a folder"):
        EmbeddingCache(tmp_path / "notes.txt" / "x", shape=SHAPE).check_encoder(ENCODER)
    assert not EmbeddingCache(tmp_path / "new", shape=SHAPE).check_encoder(ENCODER)
    assert not (tmp_path / "new").exists()


def test_a_key_is_of_what_the_encoder_sees(record):
    key = photo_key(record, Decoding.EXACT)
    assert key == photo_key(dataclasses.replace(record, image_id=7, file_name="x", annotations=()), Decoding.EXACT)
    assert key == photo_key(photos.decode_record(records.encode_record(record)), Decoding.EXACT)
    others = [
        photo_key(record, Decoding.SCALED),
        photo_key(dataclasses.replace(record, height=63), Decoding.EXACT),
        photo_key(dataclasses.replace(record, jpeg=record.jpeg + b"\0"), Decoding.EXACT),
    ]
    assert len({key, *others}) == 4


@pytest.fixture
def config():
    return MaskDataConfig(source="", max_masks=2)


def test_rows_hold_the_embedding_and_the_masks_of_an_uncached_row(cache, config, record, monkeypatch):
    """Which masks are drawn does not change either; the photo is not decoded."""
    expected = MaskExamples(config, image_size=FRAME).example(record, np.random.default_rng(3))
    cache.write(photo_key(record, Decoding.EXACT), drawn())
    maker = EmbeddingExamples(config, image_size=FRAME, cache=cache, pixels=False)
    both = EmbeddingExamples(config, image_size=FRAME, cache=cache, pixels=True)
    shown = both.example(record, np.random.default_rng(3))
    np.testing.assert_array_equal(shown.arrays["image"], expected.arrays["image"])
    monkeypatch.setattr(mask_data, "frame_photo", None)
    found = maker.example(record, np.random.default_rng(3))
    assert found.arrays.keys() == maker.row().keys() == {*expected.arrays, "embedding"} - {"image"}
    assert both.row().keys() == {*expected.arrays, "embedding"}
    for name in ("valid_size", "masks", "mask_valid"):
        np.testing.assert_array_equal(found.arrays[name], expected.arrays[name])
    for example in (found, shown):
        np.testing.assert_array_equal(example.arrays["embedding"], drawn())
    assert (found.record_id, found.counts) == (expected.record_id, expected.counts)


def test_a_photo_without_embedding_stops_the_run_unless_it_is_corrupt(cache, config, record):
    maker = EmbeddingExamples(config, image_size=FRAME, cache=cache, pixels=False)
    with pytest.raises(MachineError, match="holds no embedding of its photo: start the run again"):
        maker.example(record, np.random.default_rng(0))
    with pytest.raises(PhotoError):
        maker.example(dataclasses.replace(record, jpeg=record.jpeg[:100]), np.random.default_rng(0))
