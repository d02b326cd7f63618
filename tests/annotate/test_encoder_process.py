"""The process that encodes beside the server: its embeddings, its priority, and what happens when one of them dies."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from engine_makers import crashing_engine, failing_engine, slow_engine
from helpers.generators import micro_engine
from micro_annotator import MicroPhotos, jpeg_of, micro_store, other_engine

from samjax.annotate.encoder_process import EncoderProcess
from samjax.annotate.photo_encoding import encode_jpeg
from samjax.annotate.prompt_request import PromptRequest
from samjax.annotate.prompted_masks import PromptedMasks
from samjax.core.errors import MachineError, UserError

pytestmark = pytest.mark.slow  # each test starts a process that imports JAX


@pytest.fixture(scope="module")
def engine():
    return micro_engine()


@pytest.fixture
def store(tmp_path, engine):
    return micro_store(tmp_path / "embeddings", engine)


@pytest.fixture(scope="module")
def running(tmp_path_factory, engine):
    """A process that has encoded a photo, and its store."""
    store = micro_store(tmp_path_factory.mktemp("embeddings"), engine)
    encoder = EncoderProcess(micro_engine, store=store)
    jpeg = jpeg_of((40, 60))
    encoder(store.key(jpeg), jpeg)
    yield encoder, store
    encoder.close()


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_its_embeddings_are_the_servers_bit_for_bit(running, engine):
    """With one thread there and all here."""
    encoder, store = running
    for seed in range(3):
        jpeg = jpeg_of((50, 61), seed=seed)
        encoder(store.key(jpeg), jpeg)
        np.testing.assert_array_equal(store.read(store.key(jpeg)), encode_jpeg(engine, jpeg))


def test_it_has_the_lowest_priority(running):
    encoder, _ = running
    assert os.getpriority(os.PRIO_PROCESS, encoder.pid) == 19
    for task in Path(f"/proc/{encoder.pid}/task").iterdir():
        assert os.getpriority(os.PRIO_PROCESS, int(task.name)) == 19


def test_a_photo_that_cannot_be_decoded_is_refused_and_the_process_goes_on(running, engine):
    encoder, store = running
    pid = encoder.pid
    with pytest.raises(UserError, match="is not a picture"):
        encoder(store.key(b"x"), b"x")
    assert not store.holds(store.key(b"x"))
    jpeg = jpeg_of((50, 61), seed=9)
    encoder(store.key(jpeg), jpeg)
    assert store.holds(store.key(jpeg))
    assert encoder.pid == pid


def test_when_it_is_killed_that_is_told_and_another_takes_over(running, caplog):
    encoder, store = running
    before = encoder.pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: not is_alive(before))
    jpeg = jpeg_of((50, 61), seed=10)
    encoder(store.key(jpeg), jpeg)
    assert store.holds(store.key(jpeg))
    assert encoder.pid not in (None, before)
    assert "the process that encodes photos died (signal 9) and is started again; the server goes on" in caplog.text


def test_a_process_that_always_dies_is_told_and_clicks_on_other_photos_are_answered(store, engine):
    photos = MicroPhotos()
    store.write(store.key(photos.jpeg(2)), encode_jpeg(engine, photos.jpeg(2)))
    masks = PromptedMasks(engine, photos=photos, store=store, worker=EncoderProcess(crashing_engine, store=store))
    click = PromptRequest(annotator="ann", points=((5.0, 5.0),), labels=(1,))
    try:
        with pytest.raises(MachineError, match=r"died \(signal 9\) twice on this photo: is there enough memory\?"):
            asyncio.run(masks.predict(4, click))
        assert len(asyncio.run(masks.predict(2, click)).candidates) == 3
        assert "photo 4 cannot be encoded" in masks.status().fault
    finally:
        masks.close()


@pytest.mark.parametrize(
    ("make_engine", "error", "sentence"),
    [
        (failing_engine, UserError, "there is no checkpoint at runs/x"),
        (other_engine, MachineError, "the checkpoint is not the one that the server was started with"),
    ],
)
def test_an_engine_that_cannot_be_made_is_told(make_engine, error, sentence, store, caplog):
    encoder = EncoderProcess(make_engine, store=store)
    with pytest.raises(error, match=sentence):
        encoder(store.key(b"x"), b"x")
    assert encoder.pid is None
    assert not caplog.records
    encoder.close()
    with pytest.raises(MachineError, match="the server is stopping"):
        encoder(store.key(b"x"), b"x")


def test_closing_ends_it_in_the_middle_of_a_photo(store):
    encoder, errors = EncoderProcess(slow_engine, store=store), []

    def encode():
        try:
            encoder(store.key(b"x"), jpeg_of((40, 60)))
        except MachineError as error:
            errors.append(str(error))

    thread = threading.Thread(target=encode)
    thread.start()
    wait_for(lambda: encoder.pid is not None)
    pid = encoder.pid
    encoder.close()
    thread.join(10)
    assert not thread.is_alive()
    assert not is_alive(pid)
    assert errors == ["the server is stopping"]


_SERVER = """
import sys, threading
from engine_makers import slow_engine
from samjax.annotate.embedding_store import EmbeddingStore
from samjax.annotate.encoder_process import EncoderProcess

if __name__ == "__main__":
    encoder = EncoderProcess(slow_engine, store=EmbeddingStore(sys.argv[1], encoder={"weights": "a"}, shape=(2, 2, 8)))
    threading.Thread(target=encoder, args=(bytes(32), b"jpeg"), daemon=True).start()
    while encoder.pid is None:
        pass
    print(encoder.pid, flush=True)
    threading.Event().wait()
"""


@pytest.mark.parametrize("after_s", [0.0, 3.0])
def test_it_dies_with_its_parent(tmp_path, after_s):
    """By kill -9, while it starts and in the middle of a photo: nothing is left behind."""
    script = tmp_path / "server.py"
    script.write_text(_SERVER)
    here = Path(__file__).parent
    server = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "embeddings")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])},
    )
    try:
        pid = int(server.stdout.readline())
        assert is_alive(pid)
        time.sleep(after_s)
        assert is_alive(pid)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
    wait_for(lambda: not is_alive(pid))
