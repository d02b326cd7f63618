"""Where the wall time of a run goes."""

import contextlib
import enum
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass


class Part(enum.Enum):
    """What a run spends its time on, by the name it has in a row."""

    START = "start_s"
    """From the clock's making until the first step can be taken: restoring, compiling."""
    DATA = "data_wait_s"
    """Waiting for a batch. The device may still be at work on earlier steps: at most this much is lost to data."""
    STEP = "step_s"
    """Everything that is not another part: steps, as long as none of the others keeps the device from them."""
    SAVE = "save_s"
    EVAL = "eval_s"


LOGGED = (Part.DATA, Part.STEP, Part.SAVE, Part.EVAL)


@dataclass(frozen=True, kw_only=True)
class Past:
    """Seconds of a run's earlier starts: in all, and in the steps that were kept."""

    elapsed_s: float = 0.0
    productive_s: float = 0.0

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping], *, resume_step: int) -> "Past":
        """Return what the rows of `metrics.jsonl` say of a run that goes on from `resume_step`.

        Steps after it are done again: their time has passed, and came to nothing. So has that of a start that ended
        before its first row, which no row tells of.
        """
        timed = [row for row in rows if "goodput" in row]
        kept = [row for row in timed if row["step"] <= resume_step]
        return cls(
            elapsed_s=max((row["elapsed_s"] for row in timed), default=0.0),
            productive_s=kept[-1]["goodput"] * kept[-1]["elapsed_s"] if kept else 0.0,
        )


class RunClock:
    """Splits the time since it was made between the parts of a run; never waits for the device.

    `now` returns seconds from any origin. `past` may be set once it is known where the run goes on from.
    """

    def __init__(self, *, past: Past = Past(), now: Callable[[], float] = time.monotonic):
        self._now = now
        self.past = past
        self._began = self._last = now()
        self._spent = dict.fromkeys(Part, 0.0)
        self._lap = dict.fromkeys(Part, 0.0)
        self._rest = Part.START
        self.part = Part.START
        """What is going on now."""

    @contextlib.contextmanager
    def on(self, part: Part) -> Iterator[None]:
        """Count the time within as `part`."""
        self._count(self._rest)
        self.part = part
        try:
            yield
        finally:
            self._count(part)
            self.part = self._rest

    def start_steps(self) -> None:
        """From here on, what is no other part is steps; the first lap begins."""
        self._count(self._rest)
        self._rest = self.part = Part.STEP
        self._lap = dict.fromkeys(Part, 0.0)

    def lap(self, *, steps: int) -> dict[str, float]:
        """Return where the time since the last lap went, in seconds a step, and what the run has cost so far.

        The parts add up to the time between the laps. `elapsed_s` is the wall time of all starts of the run, `goodput`
        the share of it that went into steps that were kept.
        """
        self._count(self._rest)
        row = {part.value: self._lap[part] / steps for part in LOGGED}
        self._lap = dict.fromkeys(Part, 0.0)
        return row | {"elapsed_s": self.elapsed_s, "goodput": self.goodput}

    @property
    def elapsed_s(self) -> float:
        """Seconds of wall time of all starts, up to what was last counted."""
        return self.past.elapsed_s + self._last - self._began

    @property
    def goodput(self) -> float:
        """Share of `elapsed` spent in steps that were kept."""
        return (self.past.productive_s + self._spent[Part.STEP]) / max(self.elapsed_s, 1e-9)

    def summary(self) -> str:
        """Return where the time since the clock was made went, as a line."""
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
