"""The order in which photos are encoded, and what is told when one cannot be."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from samjax.annotate.embedding_store import EmbeddingStore, EmbeddingStoreConfig
from samjax.annotate.encoding_ahead import EncodingAhead
from samjax.core.errors import MachineError, UserError

SHAPE = (2, 2, 8)


class Photos:
    """Photos whose JPEG is their number."""

    def __getitem__(self, photo_id):
        return SimpleNamespace(height=4, width=6)

    def jpeg(self, photo_id):
        if photo_id == 404:
            raise UserError("no such file")
        return b"%d" % photo_id


class SteppedWorker:
    """Encodes a photo when the test says so."""

    def __init__(self, store):
        self.store, self.order, self.errors = store, [], {}
        self._begun, self._go = threading.Semaphore(0), threading.Semaphore(0)
        self.is_closed = False

    def __call__(self, key, jpeg):
        number = int(jpeg)
        self.order.append(number)
        self._begun.release()
        assert self._go.acquire(timeout=10)
        if self.is_closed:
            raise MachineError("closed")
        if number in self.errors:
            raise self.errors[number]
        self.store.write(key, np.zeros(SHAPE, np.float32))

    def close(self):
        self.is_closed = True
        self._go.release()

    def wait(self):
        """Wait until the next photo is under way."""
        assert self._begun.acquire(timeout=10)

    def finish(self, times=1):
        self._go.release(times)


class Setting:
    """An `EncodingAhead` with a stepped worker, and what it has told."""

    def __init__(self, folder):
        size = EmbeddingStoreConfig(gigabytes=1e-3)
        self.store = EmbeddingStore(folder, encoder={"weights": "a"}, shape=SHAPE, config=size)
        self.worker = SteppedWorker(self.store)
        self.ready, self.failures, self._told = [], [], threading.Semaphore(0)
        self.encoding = EncodingAhead(
            self.worker, photos=Photos(), store=self.store, on_ready=self._on_ready, on_failure=self._on_failure
        )

    def _on_ready(self, photo_id, key):
        assert self.store.holds(key)
        self.ready.append(photo_id)
        self._told.release()

    def _on_failure(self, photo_id, error):
        self.failures.append((photo_id, str(error)))
        self._told.release()

    def heard(self, times=1):
        """Wait until so many more photos are ready or failed."""
        for _ in range(times):
            assert self._told.acquire(timeout=10)

    def rest(self, heard):
        """Let the worker work off what there is, `heard` more photos, and return the order."""
        self.worker.finish(times=100)
        self.heard(heard)
        return self.worker.order


@pytest.fixture
def setting(tmp_path):
    setting = Setting(tmp_path)
    yield setting
    setting.encoding.close()


def test_who_waits_goes_first_then_each_annotators_next_in_turn(setting):
    setting.encoding.set_next("a", [1, 2, 3])
    setting.worker.wait()
    setting.encoding.set_next("b", [11, 12])
    setting.encoding.first(21)
    setting.encoding.first(22)
    setting.encoding.first(21)
    assert setting.rest(heard=7) == [1, 21, 22, 11, 2, 12, 3]
    status = setting.encoding.status()
    assert (status.waiting, status.ahead, status.new, status.failures, status.fault) == (0, 0, 7, 0, None)


def test_an_annotators_next_photos_replace_the_last_ones(setting):
    setting.encoding.set_next("a", [1, 2, 3])
    setting.worker.wait()
    setting.encoding.set_next("a", [7, 8])
    assert setting.rest(heard=3) == [1, 7, 8]


def test_a_photo_with_an_embedding_is_ready_at_once(setting):
    setting.store.write(setting.store.key(b"5"), np.zeros(SHAPE, np.float32))
    setting.encoding.first(5)
    setting.heard()
    assert (setting.ready, setting.worker.order, setting.encoding.status().new) == ([5], [], 0)


def test_who_waits_for_the_photo_under_way_is_answered_by_it(setting):
    setting.encoding.set_next("a", [1])
    setting.worker.wait()
    setting.encoding.first(1)
    setting.worker.finish()
    setting.heard()
    assert setting.ready == [1]
    assert setting.encoding.status().waiting == 0


def test_a_photo_that_cannot_be_encoded_is_told_and_the_next_one_goes_on(setting, caplog):
    setting.worker.errors[2] = UserError("it is damaged")
    setting.encoding.set_next("a", [1])
    setting.worker.wait()
    for photo_id in (2, 404, 3):
        setting.encoding.first(photo_id)
    assert setting.rest(heard=4) == [1, 2, 3]
    assert setting.failures == [(2, "it is damaged"), (404, "no such file")]
    assert setting.ready == [1, 3]
    assert setting.encoding.status().failures == 2
    assert setting.encoding.status().fault == "photo 404 cannot be encoded: no such file"
    assert "photo 2 cannot be encoded: it is damaged" in caplog.text


def test_nobody_hears_of_a_failure_that_nobody_waits_for(setting):
    setting.encoding.set_next("a", [404, 1])
    setting.worker.wait()
    setting.worker.finish()
    setting.heard()
    assert (setting.ready, setting.failures) == ([1], [])


def test_after_faults_of_the_machine_only_what_somebody_waits_for_is_encoded(setting, caplog):
    for number in (1, 2, 3):
        setting.worker.errors[number] = MachineError("the process died")
    setting.encoding.set_next("a", [1, 2, 3, 4, 5])
    for _ in range(3):
        setting.worker.wait()
        setting.worker.finish()
    setting.encoding.first(9)
    setting.worker.wait()
    assert not setting.encoding.status().is_ahead
    assert setting.worker.order == [1, 2, 3, 9]
    setting.worker.finish()
    setting.heard()
    assert setting.encoding.status().is_ahead  # it works again
    assert setting.rest(heard=2) == [1, 2, 3, 9, 4, 5]
    assert "photos are encoded only when somebody opens them" in caplog.text


def test_an_error_that_nobody_foresaw_ends_nothing(setting):
    setting.worker.errors[1] = KeyError("x")
    for photo_id in (1, 2):
        setting.encoding.first(photo_id)
    assert setting.rest(heard=2) == [1, 2]
    assert (setting.ready, [photo_id for photo_id, _ in setting.failures]) == ([2], [1])


def test_closing_gives_up_the_photo_under_way(tmp_path, caplog):
    setting = Setting(tmp_path)
    setting.encoding.set_next("a", [1, 2])
    setting.worker.wait()
    setting.encoding.close()
    assert setting.worker.order == [1]
    assert not caplog.records
