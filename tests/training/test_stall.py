"""Who is named when nothing happens any more."""

import threading
import time

import pytest

from samjax.training.clock import Part, RunClock
from samjax.training.stall import StallWatch, Turn, verdict


def turn(steps: int, doing: str = "waiting for devices", host: str = "there") -> Turn:
    return Turn(steps=steps, doing=doing, host=host)


@pytest.mark.parametrize(
    ("turns", "says"),
    [
        (
            {0: turn(20), 1: turn(17, "waiting for data", "host-1"), 2: turn(20)},
            "process 1 on host-1 is waiting for data after step 17; the others are at step 20",
        ),
        ({0: turn(20), 1: turn(20), 2: turn(20)}, "all 3 processes are at step 20: look at devices and network"),
        (
            {0: turn(3), 2: turn(4)},
            "process 1 is silent, process 0 on there is waiting for devices after step 3; the others are at step 4",
        ),
    ],
)
def test_the_one_behind_is_named(turns, says):
    assert verdict(turns, processes=3) == says


def test_one_process_alone_is_named():
    assert verdict({0: turn(5, "saving", "here")}, processes=1) == "process 0 on here is saving after step 5"


def test_many_behind_are_counted():
    said = verdict({process: turn(process // 20) for process in range(64)}, processes=64)
    assert said.endswith("process 7 on there is waiting for devices after step 0 and 12 more; the others are at step 3")


def test_a_turn_that_does_not_end_ends_the_run():
    said: list[str] = []
    ended = threading.Event()

    def end(message: str) -> None:
        said.append(message)
        ended.set()

    clock = RunClock()
    clock.start_steps()
    watch = StallWatch(clock, start=0, timeout_s=1.5, end=end)
    for steps in range(10):  # longer than the timeout, in short turns
        watch.note_steps(steps)
        time.sleep(0.2)
    assert not said
    with clock.on(Part.DATA):
        assert ended.wait(20)
    (message,) = said
    assert "(stall_timeout_s is 1.5)" in message
    assert "is waiting for data after step 9" in message


@pytest.mark.parametrize(("timeout_s", "closed"), [(0.0, False), (0.2, True)])
def test_nothing_is_watched_without_a_timeout_or_when_it_is_over(timeout_s, closed):
    said: list[str] = []
    watch = StallWatch(RunClock(), start=0, timeout_s=timeout_s, end=said.append)
    if closed:
        watch.close()
    time.sleep(0.8)
    assert not said
