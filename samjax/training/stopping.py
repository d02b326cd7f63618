"""How a run answers SIGTERM and Ctrl-C."""

import contextlib
from collections.abc import Iterator

import jax

from samjax.checkpoint.manager import Checkpoints
from samjax.core.distributed import stops_together
from samjax.core.signals import answering
from samjax.training.clock import Part, RunClock
from samjax.training.profiling import StepRange

_AGAIN = "press again to stop at once"


class Stopping:
    """Decides whether to stop at a step, and answers signals; made by `listening`."""

    def __init__(self, checkpoints: Checkpoints, clock: RunClock):
        self._checkpoints = checkpoints
        self._clock = clock
        self._came: list[int] | None = []
        self.turn = 0
        """The step that ends the loop's current iteration."""
        self.dispatched = 0
        """Steps dispatched, over all starts of the run."""

    @classmethod
    @contextlib.contextmanager
    def listening(cls, checkpoints: Checkpoints, clock: RunClock) -> Iterator["Stopping"]:
        """Yield one that answers signals inside this context."""
        stopping = cls(checkpoints, clock)
        several = jax.process_count() > 1
        with answering(first=stopping.first, second=stopping.second, pass_on=several) as stopping._came:
            yield stopping

    @property
    def listens(self) -> bool:
        """Whether signals are handled: only in a process's main thread."""
        return self._came is not None

    @property
    def came(self) -> bool:
        """Whether this process has received a signal."""
        return bool(self._came)

    def at(self, step: int) -> bool:
        """Return whether to stop after `step`; every process asks once per step, and all get the same answer."""
        return stops_together(step) if jax.process_count() > 1 else self.came

    def first(self) -> str:
        """Return the answer to the first signal."""
        if self._clock.part is Part.START:
            return f"stopping once startup (restoring, compiling) is done, without taking a step; {_AGAIN}"
        if jax.process_count() > 1:
            return f"all processes finish the same step, {self.turn} or one soon after, then save; {_AGAIN}"
        return f"finishing step {self.turn}, then saving; {_AGAIN}"

    def second(self) -> str:
        """Return the answer to the second signal: what is lost."""
        saved = self._checkpoints.newest_on_disk()
        if self.dispatched <= (saved or 0):
            lost = "no step lost"
        else:
            lost = f"{StepRange(first=(saved or 0) + 1, last=self.dispatched)} lost"
        way = "starts over, nothing has been saved" if saved is None else f"resumes from step {saved}"
        return f"stopped at once by a second signal: {lost}; the same command {way}"
