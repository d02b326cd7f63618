"""Ends a run that hangs, and says which process holds it up."""

import contextlib
import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax

from samjax.core.distributed import leave_word, words_of_all
from samjax.training.clock import Part, RunClock

_TURNS = "turns"
_STACKS = "stacks"
_LONGEST_TICK_S = 5.0
_WAIT_FOR_STACKS_S = 3 * _LONGEST_TICK_S
_DOING = {
    Part.START: "starting",
    Part.DATA: "waiting for data",
    Part.STEP: "waiting for devices",
    Part.SAVE: "saving",
    Part.EVAL: "validating",
}


class Turn(NamedTuple):
    """What a process was last known to be doing."""

    steps: int
    """Dispatched."""
    doing: str
    host: str


def verdict(turns: Mapping[int, Turn], *, processes: int) -> str:
    """Return which of `processes` processes holds up the others, from the last known turn of each."""
    silent = [process for process in range(processes) if process not in turns]
    least = min((turn.steps for turn in turns.values()), default=0)
    behind = [process for process, turn in turns.items() if turn.steps == least]
    if processes > 1 and len(behind) == processes:
        return f"all {processes} processes are at step {least}: look at devices and network"
    named = [f"process {process} is silent" for process in silent] + [
        f"process {process} on {turns[process].host} is {turns[process].doing} after step {least}" for process in behind
    ]
    others = max((turn.steps for turn in turns.values()), default=0)
    ahead = f"; the others are at step {others}" if len(turns) > len(behind) else ""
    return ", ".join(named[:8]) + (f" and {len(named) - 8} more" if named[8:] else "") + ahead


class StallWatch:
    """Ends this process, and so the run, if no step is dispatched for longer than `timeout_s`; 0 never does.

    A thread watches `clock` and shares what this process is doing with the others, so that the first process to time
    out can name the one that is behind. Every process prints its stack before any of them exits, including the one that
    hangs. A process that has died is JAX's heartbeat's business, not this class's.
    """

    def __init__(self, clock: RunClock, *, start: int, timeout_s: float, end: Callable[[str], None] | None = None):
        self._clock = clock
        self._timeout_s = timeout_s
        self._end = end or _end
        self._steps, self._since = start, time.monotonic()
        self._closed = threading.Event()
        if timeout_s > 0:
            threading.Thread(target=self._watch, name="stall watch", daemon=True).start()

    def note_steps(self, steps: int) -> None:
        """Record that `steps` steps have been dispatched; the timeout restarts here."""
        self._steps, self._since = steps, time.monotonic()

    def close(self) -> None:
        """Watch no longer."""
        self._closed.set()

    def _watch(self) -> None:
        said = None
        while not self._closed.wait(min(_LONGEST_TICK_S, self._timeout_s / 10)):
            mine = Turn(self._steps, _DOING[self._clock.part], socket.gethostname())
            seconds = time.monotonic() - self._since
            if seconds > self._timeout_s:
                turns = {process: Turn(*json.loads(word)) for process, word in _words(_TURNS).items()}
                who = verdict({**turns, jax.process_index(): mine}, processes=jax.process_count())
                self._end(f"no step in {seconds:.0f} s (stall_timeout_s is {self._timeout_s:g}): {who}")
                return
            if printed := _words(_STACKS):
                self._end(f"process {min(printed)} found that the run hangs")
                return
            if mine != said:
                _leave(_TURNS, json.dumps(mine))
                said = mine


def _words(topic: str) -> dict[int, str]:
    """Return the last message of each process; none if the coordinator does not answer."""
    try:
        return words_of_all(topic)
    except jax.errors.JaxRuntimeError:
        return {}


def _leave(topic: str, word: str) -> None:
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # without a coordinator the heartbeat ends all processes
        leave_word(topic, word)


def _end(message: str) -> None:
    """Print the stack of the main thread, wait until the other processes have printed theirs, and exit.

    One exit ends all processes: without the wait, the stack of the hanging process might never be printed.
    """
    print(f"samjax: {message}\nprocess {jax.process_index()} ends; its main thread is at:", file=sys.stderr)
    main = threading.main_thread().ident
    traceback.print_stack(sys._current_frames().get(main) if main is not None else None)
    sys.stderr.flush()
    _leave(_STACKS, "printed")
    deadline = time.monotonic() + _WAIT_FOR_STACKS_S
    while 0 < len(_words(_STACKS)) < jax.process_count() and time.monotonic() < deadline:
        time.sleep(0.2)
    os._exit(1)
