"""What a signal is answered with: what is going on, and what the second one loses."""

from types import SimpleNamespace

import pytest

from samjax.training.clock import Part, RunClock
from samjax.training.stopping import Stopping


def stopping(*, saved: int | None = None, turn: int = 0, dispatched: int = 0, part: Part = Part.STEP) -> Stopping:
    clock = RunClock()
    clock.part = part
    checkpoints = SimpleNamespace(newest_on_disk=lambda: saved)
    made = Stopping.__new__(Stopping)
    made._checkpoints, made._clock, made._came = checkpoints, clock, []  # type: ignore[assignment]
    made.turn, made.dispatched = turn, dispatched
    return made


def test_the_first_names_the_step_that_will_be_saved():
    assert stopping(turn=8, dispatched=7).first() == "finishing step 8, then saving; press again to stop at once"


def test_the_first_says_that_a_start_loses_nothing():
    said = stopping(part=Part.START).first()
    assert "restoring, compiling" in said
    assert "without taking a step; press again to stop at once" in said


@pytest.mark.parametrize(
    ("saved", "dispatched", "lost"),
    [
        (4, 7, "steps 5 to 7 lost; the same command resumes from step 4"),
        (6, 7, "step 7 lost; the same command resumes from step 6"),
        (7, 7, "no step lost; the same command resumes from step 7"),
        (None, 7, "steps 1 to 7 lost; the same command starts over, nothing has been saved"),
        (None, 0, "no step lost; the same command starts over, nothing has been saved"),
    ],
)
def test_the_second_names_the_steps_that_are_lost(saved, dispatched, lost):
    assert stopping(saved=saved, dispatched=dispatched).second() == f"stopped at once by a second signal: {lost}"
