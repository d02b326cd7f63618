"""SIGTERM and Ctrl-C: how a run is told to end before its last step.

Without JAX: they may come while it is being imported.
"""

import contextlib
import signal
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
def _handling(handler: Callable[[int, Any], None]) -> Iterator[Callable[[], None]]:
    previous = {number: signal.signal(number, handler) for number in _STOPS}

    def restore() -> None:
        for number, before in previous.items():
            signal.signal(number, before)

    try:
        yield restore
    finally:
        restore()
