"""Where the wall time of a run goes."""

import contextlib
import enum
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass


class Part(enum.Enum):
    """What a run spends its time on; values are the names in a row of metrics."""

    START = "start_s"
    """From the creation of the clock to the first step: restoring, compiling."""
    DATA = "data_wait_s"
    """Waiting for a batch. The device may still be busy with earlier steps, so this is an upper bound on time lost to
    data."""
    STEP = "step_s"
    """Everything else: the training steps."""
    SAVE = "save_s"
    EVAL = "eval_s"


LOGGED = (Part.DATA, Part.STEP, Part.SAVE, Part.EVAL)


@dataclass(frozen=True, kw_only=True)
class Past:
    """Seconds of a run's earlier starts: in total, and in steps that still count."""

    elapsed_s: float = 0.0
    productive_s: float = 0.0

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping], *, resume_step: int) -> "Past":
        """Return the times that `metrics.jsonl` records, for a run that resumes from `resume_step`.

        Later steps are repeated, so their time is elapsed but not productive. A start that ended before its first row
        has left no record and is not counted.
        """
        timed = [row for row in rows if "goodput" in row]
        kept = [row for row in timed if row["step"] <= resume_step]
        return cls(
            elapsed_s=max((row["elapsed_s"] for row in timed), default=0.0),
            productive_s=kept[-1]["goodput"] * kept[-1]["elapsed_s"] if kept else 0.0,
        )


class RunClock:
    """Splits the wall time since its creation among the parts of a run; never waits for the device.

    `now` returns seconds from any origin. Set `past` once it is known which step the run resumes from.
    """

    def __init__(self, *, past: Past = Past(), now: Callable[[], float] = time.monotonic):
        self._now = now
        self.past = past
        self._began = self._last = now()
        self._spent = dict.fromkeys(Part, 0.0)
        self._lap = dict.fromkeys(Part, 0.0)
        self._rest = Part.START
        self.part = Part.START
        """The part that is running now."""

    @contextlib.contextmanager
    def on(self, part: Part) -> Iterator[None]:
        """Count the time spent in this context as `part`."""
        self._count(self._rest)
        self.part = part
        try:
            yield
        finally:
            self._count(part)
            self.part = self._rest

    def start_steps(self) -> None:
        """End startup: from here on, time outside other parts counts as steps. Starts the first lap."""
        self._count(self._rest)
        self._rest = self.part = Part.STEP
        self._lap = dict.fromkeys(Part, 0.0)

    def lap(self, *, steps: int) -> dict[str, float]:
        """Return where the time since the last lap went, in seconds per step, and the totals of the run so far.

        The parts add up to the time between the laps. `elapsed_s` is the wall time over all starts of the run;
        `goodput` is the share of it spent in steps that still count.
        """
        self._count(self._rest)
        row = {part.value: self._lap[part] / steps for part in LOGGED}
        self._lap = dict.fromkeys(Part, 0.0)
        return row | {"elapsed_s": self.elapsed_s, "goodput": self.goodput}

    @property
    def elapsed_s(self) -> float:
        """Wall time over all starts in seconds, up to the last count."""
        return self.past.elapsed_s + self._last - self._began

    @property
    def goodput(self) -> float:
        """Share of `elapsed_s` spent in steps that still count."""
        return (self.past.productive_s + self._spent[Part.STEP]) / max(self.elapsed_s, 1e-9)

    def summary(self) -> str:
        """Return one line: where the time of this start went."""
        self._count(self._rest)
        seconds = max(self._last - self._began, 1e-9)
        names = {Part.START: "start", Part.DATA: "data wait", Part.STEP: "steps", Part.SAVE: "saves", Part.EVAL: "eval"}
        shares = ", ".join(f"{name} {self._spent[part] / seconds:.1%}" for part, name in names.items())
        return f"{seconds:.0f} s: {shares}; goodput of the run {self.goodput:.1%}"

    def _count(self, part: Part) -> None:
        now = self._now()
        self._spent[part] += now - self._last
        self._lap[part] += now - self._last
        self._last = now
