"""SIGTERM and Ctrl-C: how a run is told to stop early.

Does not import JAX: signals may arrive while JAX is being imported.
"""

import contextlib
import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

_STOPS = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def noting() -> Iterator[list[int]]:
    """Collect signals in the list it yields instead of acting on them; the second one acts as it would have."""
    came: list[int] = []

    def note(number: int, _: Any) -> None:
        came.append(number)
        restore()

    with _handling(note) as restore:
        yield came


@contextlib.contextmanager
def interrupting() -> Iterator[list[int]]:
    """Treat SIGTERM like Ctrl-C, a `KeyboardInterrupt` in the main thread; yields an empty list, like `noting`."""
    with _handling(signal.default_int_handler):
        yield []


@contextlib.contextmanager
def answering(
    *, first: Callable[[], str], second: Callable[[], str], pass_on: bool = False
) -> Iterator[list[int] | None]:
    """Answer signals at once, whatever the main thread is doing; yield a list that collects them.

    Python runs handlers between two operations of its main thread, and an XLA compilation is one operation of minutes.
    So a separate thread answers: the first signal with a line, the second with a line and the exit of this process,
    with code 128 + the signal's number.

    Args:
      first: returns the line for the first signal.
      second: returns the line for the second.
      pass_on: whether to pass the first signal on to the native SIGTERM handler that was installed before: JAX's, which
        stops a multi-process run.

    Yields:
      None outside the main thread, where Python cannot handle signals: nothing is answered.
    """
    if threading.current_thread() is not threading.main_thread():
        yield None
        return
    came: list[int] = []
    try:
        terminal = os.dup(2)  # whatever is put in its place meanwhile
    except OSError:  # it is closed
        terminal = os.open(os.devnull, os.O_WRONLY)
    before = _native_handler(signal.SIGTERM)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def say(line: str) -> None:
        start = "\n" if os.isatty(terminal) else ""  # a progress bar may be on the line
        with contextlib.suppress(OSError):
            os.write(terminal, f"{start}samjax: {line}\n".encode())

    def answer() -> None:
        presses = 0
        while byte := os.read(reader, 1):
            if byte[0] not in _STOPS:
                continue
            presses += 1
            if presses == 1:
                say(first())
                if pass_on and before != ours:
                    _call(before, signal.SIGTERM)
            else:
                say(second())
                os._exit(128 + byte[0])

    thread = threading.Thread(target=answer, name="signals", daemon=True)
    with _handling(lambda number, _: came.append(number)):
        ours = _native_handler(signal.SIGTERM)
        earlier = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        thread.start()
        try:
            yield came
        finally:
            signal.set_wakeup_fd(earlier)
            os.close(writer)
            thread.join()
            os.close(reader)
            os.close(terminal)


def _native_handler(number: signal.Signals) -> int:
    """Return the address of a signal's handler, which may be native; 0 and 1 are the system's own."""
    action = ctypes.create_string_buffer(1024)  # a struct sigaction, which is smaller, and begins with the address
    ctypes.CDLL(None).sigaction(int(number), None, action)
    return ctypes.c_void_p.from_buffer(action).value or 0


def _call(handler: int, number: signal.Signals) -> None:
    """Call a handler by its address: raising the signal would need it installed, and a second signal would then reach
    it too."""
    if handler > 1:
        ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(handler)(int(number), None, None)


@contextlib.contextmanager
def _handling(handler: Callable[[int, Any], None]) -> Iterator[Callable[[], None]]:
    if threading.current_thread() is not threading.main_thread():  # Python handles none there
        yield lambda: None
        return
    previous = {number: signal.signal(number, handler) for number in _STOPS}

    def restore() -> None:
        for number, before in previous.items():
            signal.signal(number, before)

    try:
        yield restore
    finally:
        restore()
