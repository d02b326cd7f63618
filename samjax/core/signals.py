"""SIGTERM and Ctrl-C: how a run is told to end before its last step.

Without JAX: they may come while it is being imported.
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
    """Yield a list that signals are added to as they come, and nothing else happens; the second acts as before."""
    came: list[int] = []

    def note(number: int, _: Any) -> None:
        came.append(number)
        restore()

    with _handling(note) as restore:
        yield came


@contextlib.contextmanager
def interrupting() -> Iterator[list[int]]:
    """Let SIGTERM be what Ctrl-C is, a `KeyboardInterrupt` in the main thread; yield `noting`'s list, always empty."""
    with _handling(signal.default_int_handler):
        yield []


@contextlib.contextmanager
def answering(
    *, first: Callable[[], str], second: Callable[[], str], pass_on: bool = False
) -> Iterator[list[int] | None]:
    """Answer signals at once, whatever the main thread is at; yield a list that they are added to as they come.

    Python runs handlers between two operations of its main thread, and an XLA compilation is one, of minutes. So a
    thread of its own answers: the first signal by a line, the second by a line and the end of this process, with exit
    code 128 + the signal's number.

    Args:
      first: returns the line for the first signal.
      second: returns the line for the second.
      pass_on: whether the first is also handed to the SIGTERM handler that was there, one that Python does not know:
        JAX's, which stops a multi-process run.

    Yields:
      None outside the main thread, where Python lets no signal be handled: nothing is answered.
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
        start = "\n" if os.isatty(terminal) else ""  # a progress bar may stand there
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
    """Return the address of a signal's handler, which need not be one of Python's; 0 and 1 are the system's own."""
    action = ctypes.create_string_buffer(1024)  # a struct sigaction, which is smaller, and begins with the address
    ctypes.CDLL(None).sigaction(int(number), None, action)
    return ctypes.c_void_p.from_buffer(action).value or 0


def _call(handler: int, number: signal.Signals) -> None:
    """Call a handler by its address: raising the signal would need it in place, and meet a second one there."""
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
