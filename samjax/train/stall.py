"""A run in which nothing happens any more ends, and says which process holds it up."""

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
from samjax.train.clock import Part, RunClock

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
    """What a process was last known to be at."""

    steps: int
    """Dispatched."""
    doing: str
    host: str


def verdict(turns: Mapping[int, Turn], *, processes: int) -> str:
    """Return who of so many `processes` holds the others up, given where those stand of which it is known."""
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
    """Ends this process, and so the run, where no step is dispatched for longer than `timeout_s`; 0 never does.

    A thread looks at `clock` and shares what this process is at with the others, so that whichever of them runs out of
    time first can name the one behind. Then every process prints its stack before any of them ends, so that the one
    that hangs is read too. A process that is gone altogether is missed by JAX's heartbeat, not here.
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
        """Note that so many steps were dispatched; the time until the next one counts from here."""
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
                self._end(f"process {min(printed)} found that the run stands still")
                return
            if mine != said:
                _leave(_TURNS, json.dumps(mine))
                said = mine


def _words(topic: str) -> dict[int, str]:
    """Return the word of each process; none where the process that keeps them does not answer."""
    try:
        return words_of_all(topic)
    except jax.errors.JaxRuntimeError:
        return {}


def _leave(topic: str, word: str) -> None:
    with contextlib.suppress(jax.errors.JaxRuntimeError):  # without an answer the heartbeat ends us all
        leave_word(topic, word)


def _end(message: str) -> None:
    """Print where the main thread is, which does not answer, wait until the other processes did so, and exit.

    The exit of one process ends the others: without the wait the stack of the process that hangs could be missing.
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
