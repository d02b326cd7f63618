"""Traces of some steps of a run, for TensorBoard or Perfetto."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
from etils import epath

from samjax.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class StepRange:
    """Steps `first` to `last` inclusive, counted from 1 as in the rows of metrics."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"step {self.first}" if self.first == self.last else f"steps {self.first} to {self.last}"

    @classmethod
    def parse(cls, text: str, *, steps: int) -> "StepRange":
        """Return the range in `FIRST:LAST`, for a run of `steps` steps.

        Raises:
          UserError: the text is no range, an empty one, or one beyond the run's end.
        """
        found = re.fullmatch(r"(\d+):(\d+)", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise UserError(f"--profile {text}: expected FIRST:LAST, the steps to trace counted from 1, as in 10:15")
        if int(found[2]) > steps:
            raise UserError(f"--profile {text}: the run ends with step {steps}; give steps before its end")
        return cls(first=int(found[1]), last=int(found[2]))


class Profiler:
    """Annotates every step for external profilers, and traces the steps of a range itself.

    Python calls are not traced: that would slow down the measured steps.
    """

    def __init__(self, steps: StepRange | None, directory: epath.PathLike):
        self._steps = steps
        self._directory = directory
        self._tracing = False

    @contextlib.contextmanager
    def step(self, number: int, state: Any) -> Iterator[None]:
        """Annotate this context as step `number`; waits for `state` before a trace begins."""
        if self._steps is not None and not self._tracing and self._steps.first <= number <= self._steps.last:
            jax.block_until_ready(state)
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0
            jax.profiler.start_trace(self._directory, profiler_options=options)
            self._tracing = True
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield

    def end_step(self, number: int, metrics: Any) -> str | None:
        """End the trace if `number` is its last step, after waiting for `metrics`; return a line for the user, if
        any."""
        if not self._tracing or self._steps is None or number < self._steps.last:
            return None
        jax.block_until_ready(metrics)
        self.close()
        return f"traced steps {self._steps.first} to {number} into {self._directory}"

    def close(self) -> None:
        """Write out an unfinished trace."""
        if self._tracing:
            jax.profiler.stop_trace()
            self._tracing = False
