"""All photos encoded before anybody clicks: each once, the broken ones told, as the server would."""

import jax
import numpy as np
import pytest
from helpers.generators import micro_engine
from micro_annotator import MicroPhotos, micro_store

from samjax.annotate.photo_encoding import encode_all, encode_jpeg
from samjax.core.errors import UserError
from samjax.data.photo import read_photo
from samjax.predict.promptable.predictor import Predictor

PHOTOS = MicroPhotos()


@pytest.fixture(scope="module")
def engine():
    return micro_engine()


@pytest.fixture
def store(tmp_path, engine):
    return micro_store(tmp_path / "embeddings", engine)


def test_a_photos_embedding_is_the_predictors(engine):
    jpeg = PHOTOS.jpeg(2)
    predictor = Predictor(engine)
    predictor.set_image(read_photo(jpeg))
    np.testing.assert_array_equal(encode_jpeg(engine, jpeg), np.asarray(predictor._embedding)[0])


def test_every_photo_is_encoded_once(engine, store, monkeypatch):
    reports, ids = [], list(range(5))
    done = encode_all(engine, PHOTOS, ids, store, report=reports.append)
    assert (done.photos, done.existing, done.new, done.failures, done.is_complete) == (5, 0, 5, (), True)
    assert [report.new for report in reports] == [1, 2, 3, 4, 5, 5]
    assert [report.is_complete for report in reports] == [False] * 4 + [True] * 2
    for photo_id in ids:
        jpeg = PHOTOS.jpeg(photo_id)
        np.testing.assert_array_equal(store.read(store.key(jpeg)), encode_jpeg(engine, jpeg))
    monkeypatch.setattr(engine, "encode", None)  # nothing is encoded again
    again = encode_all(engine, PHOTOS, ids, store)
    assert (again.existing, again.new, again.is_complete) == (5, 0, True)


def test_an_interrupted_call_goes_on_where_it_was(engine, store):
    def interrupt(report):
        if report.new == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_all(engine, PHOTOS, range(5), store, report=interrupt)
    done = encode_all(engine, PHOTOS, range(5), store)
    assert (done.existing, done.new) == (2, 3)


def test_photos_that_cannot_be_read_are_told_and_the_others_encoded(engine, store):
    done = encode_all(engine, PHOTOS, [1, 404, 2, 405], store)
    assert (done.new, done.is_complete) == (2, True)
    first, second = done.failures
    assert first.startswith("photo 404: ")
    assert "is not a picture" in first
    assert second == "photo 405: photo 405: no such file"


def test_more_photos_than_the_cache_holds_are_refused_at_once(engine, tmp_path):
    store = micro_store(tmp_path, engine, gigabytes=2e-3)
    assert store.capacity < 1000
    with pytest.raises(
        UserError, match=r"the embeddings of 1,000 photos take .* GB, and the cache is bounded at 0.002"
    ):
        encode_all(engine, PHOTOS, range(1000), store)


def test_photos_are_split_over_the_devices(engine, store):
    """Eight at a time, and the last batch not full: the same embeddings."""
    spread = micro_engine(devices=8)
    assert spread.ways == len(jax.devices()) == 8
    done = encode_all(spread, PHOTOS, range(11), store)
    assert done.new == 11
    for photo_id in range(11):
        jpeg = PHOTOS.jpeg(photo_id)
        np.testing.assert_allclose(store.read(store.key(jpeg)), encode_jpeg(engine, jpeg), atol=1e-5)
