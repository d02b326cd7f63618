"""A process that encodes photos beside the server: at the lowest priority and on one thread, so that clicks stay fast.

It ends with its parent, however that ends: a thread of it waits for the parent's end of a pipe to close.
"""

import contextlib
import logging
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samjax.annotate.embedding_store import EmbeddingStore, EmbeddingStoreConfig
from samjax.core.errors import MachineError, UserError

if TYPE_CHECKING:
    from samjax.predict.engine import Engine

log = logging.getLogger(__name__)

_NICE = 19
_ONE_THREAD = {"NPROC": "1", "PJRT_NPROC": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_XLA_ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
_END_S = 5.0


@dataclass(frozen=True)
class _Reply:
    error: Exception | None = None
    """Why there is no embedding."""
    is_over: bool = False
    """The process cannot encode at all, and ends."""


class EncoderProcess:
    """Encodes one photo at a time in a process of its own; the `Worker` of an `EncodingAhead`.

    The process starts with `start` or the first photo. If it dies, that is logged, and it is started again; a photo on
    which it dies twice is refused.

    Args:
      make_engine: makes the engine there, such as `functools.partial(Engine.from_checkpoint, path)`; it is pickled.
        Give the folder of a checkpoint, not a workdir whose newest checkpoint changes: other weights are refused.
      store: where embeddings go.
    """

    def __init__(self, make_engine: "Callable[[], Engine]", *, store: EmbeddingStore):
        self._make_engine, self._store = make_engine, store
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._is_closed = False
        self._start_or_close = threading.Lock()

    @property
    def pid(self) -> int | None:
        """The process's id; None if it does not run."""
        process = self._process
        return process.pid if process is not None and process.is_alive() else None

    def start(self) -> None:
        """Start the process, which takes seconds to load the model, before the first photo."""
        with self._start_or_close:
            if not self._is_closed:
                self._pipe = self._pipe or self._new_process()

    def __call__(self, key: bytes, jpeg: bytes) -> None:
        """Put the photo's embedding into the store.

        Raises:
          UserError: the photo cannot be decoded, or the embedding cannot be written.
          MachineError: the process died twice, or it cannot start.
        """
        for is_last in (False, True):
            try:
                answer = self._ask(key, jpeg)
            except (EOFError, OSError) as error:
                if self._is_closed:
                    raise MachineError("the server is stopping") from None
                fault = f"the process that encodes photos died ({self._ending()})"
                if is_last:
                    raise MachineError(f"{fault} twice on this photo: is there enough memory?") from error
                log.warning("%s and is started again; the server goes on", fault)
                continue
            if answer.is_over:
                self._ending()
            if answer.error is not None:
                raise answer.error
            return

    def close(self) -> None:
        """End the process, in the middle of a photo too."""
        with self._start_or_close:
            self._is_closed = True
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join(_END_S)

    def _ask(self, key: bytes, jpeg: bytes) -> "_Reply":
        """Return the process's reply, once the embedding is there or cannot be made.

        Raises:
          EOFError, OSError: the process died.
        """
        with self._start_or_close:
            if self._is_closed:
                raise EOFError
            pipe = self._pipe = self._pipe or self._new_process()
        pipe.send((key, jpeg))
        return pipe.recv()

    def _new_process(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        store = self._store
        arguments = (theirs, self._make_engine, str(store.folder), store.encoder, store.shape, store.config)
        self._process = context.Process(target=_serve, args=arguments, name="samjax-encoder", daemon=True)
        self._process.start()
        theirs.close()
        return ours

    def _ending(self) -> str:
        """Return how the process ended, and forget it. Whatever is left of it ends too."""
        process, pipe = self._process, self._pipe
        self._process = self._pipe = None
        if pipe is not None:
            pipe.close()
        if process is None:
            return "it is gone"
        process.join(_END_S)
        if (code := process.exitcode) is None:
            process.kill()
            process.join(_END_S)
            return "it closed its pipe"
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def _serve(
    pipe: Connection,
    make_engine: "Callable[[], Engine]",
    folder: str,
    encoder: dict[str, Any],
    shape: tuple[int, int, int],
    config: EmbeddingStoreConfig,
) -> None:
    """Encode what comes through the pipe, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    _lower_priority()
    os.environ.update(_ONE_THREAD)  # JAX has not started: it reads them with its first computation
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_XLA_ONE_THREAD}".strip()
    photos: queue.SimpleQueue[tuple[bytes, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, photos), daemon=True).start()
    try:
        encode = _encoder(make_engine, Path(folder), encoder, shape, config)
    except Exception as error:
        photos.get()
        pipe.send(_Reply(_sendable(error), is_over=True))
        return
    while True:
        key, jpeg = photos.get()
        try:
            encode(key, jpeg)
        except Exception as error:
            pipe.send(_Reply(_sendable(error)))
        else:
            pipe.send(_Reply())


def _lower_priority() -> None:
    """Give way to all else: on Linux each thread has a priority of its own, and imports have started some."""
    os.nice(_NICE)
    for task in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):  # it has ended
            os.setpriority(os.PRIO_PROCESS, int(task.name), _NICE)


def _receive(pipe: Connection, photos: "queue.SimpleQueue[tuple[bytes, bytes]]") -> None:
    """Take photos from the pipe; when the parent is gone, end this process at once."""
    while True:
        try:
            photos.put(pipe.recv())
        except (EOFError, OSError):
            os._exit(0)


def _encoder(
    make_engine: "Callable[[], Engine]",
    folder: Path,
    encoder: dict[str, Any],
    shape: tuple[int, int, int],
    config: EmbeddingStoreConfig,
) -> Callable[[bytes, bytes], None]:
    import jax

    from samjax.annotate.photo_encoding import encode_jpeg

    jax.config.update("jax_platforms", "cpu")  # an accelerator's memory is the server's
    engine = make_engine()
    if engine.describe_encoder() != encoder:
        raise MachineError("the checkpoint is not the one that the server was started with: start the server again")
    store = EmbeddingStore(folder, encoder=encoder, shape=shape, config=config)

    def encode(key: bytes, jpeg: bytes) -> None:
        store.write(key, encode_jpeg(engine, jpeg))

    return encode


def _sendable(error: Exception) -> Exception:
    """Return an error that can be pickled; one that nobody foresaw as a fault of the machine."""
    if isinstance(error, UserError):
        return UserError(str(error))
    return MachineError(str(error) if isinstance(error, MachineError) else f"{type(error).__name__}: {error}")
