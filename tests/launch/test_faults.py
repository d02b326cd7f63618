"""Processes of a run are killed, told to stop, stopped short and hung; whatever comes of it, its losses are the same.

The long ones take tens of minutes; `docs/reliability.md` has their figures.
"""

import random
import signal
import time
from pathlib import Path

import pytest
from started import Started, write_experiment

STEPS = 6

# In the process of VICTIM, the call of a function is met with a signal or a sleep that does not end.
FAULTS = """
import os, signal, sys, time

def disturb(owner, name, *, at):
    real, calls = getattr(owner, name), []

    def disturbed(*args, **kwargs):
        calls.append(name)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGTERM) if os.environ["FAULT"] != "hang" else time.sleep(10_000)
        return real(*args, **kwargs)

    setattr(owner, name, disturbed)

if sys.argv[-2:] == ["--process", os.environ["VICTIM"]]:
    from samjax.checkpoint.manager import Checkpoints
    from samjax.data.loader import TrainStream
    from samjax.eval.click_validation import ClickValidator
    from samjax.train import loop

    fault, at = os.environ["FAULT"], int(os.environ.get("AT", "1"))
    if fault == "loading":
        os.kill(os.getpid(), signal.SIGTERM)
    elif fault == "hang":
        disturb(TrainStream, "__next__", at=at)
    else:
        owner, name = {
            "restoring": (Checkpoints, "restore_newest"), "compiling": (loop, "lower_train_step"),
            "validating": (ClickValidator, "__call__"), "saving": (Checkpoints, "save"),
            "reading": (TrainStream, "__next__"), "ending": (Checkpoints, "wait"),
        }[fault]
        disturb(owner, name, at=at)
"""


@pytest.fixture(scope="module")
def experiment(prepared, tmp_path_factory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("experiment") / "experiment.py", prepared)


@pytest.fixture(scope="module")
def disturbed(prepared, tmp_path_factory) -> Path:
    """An experiment that does what FAULT, AT and VICTIM say."""
    return write_experiment(tmp_path_factory.mktemp("disturbed") / "experiment.py", prepared, more=FAULTS)


@pytest.fixture(scope="module")
def expected(experiment, tmp_path_factory) -> dict[int, float]:
    """The losses of a run to which nothing happens."""
    run = Started(experiment, tmp_path_factory.mktemp("undisturbed"), processes=2)
    code, said = run.end()
    assert code == 0, said
    return run.losses()


@pytest.mark.multihost
@pytest.mark.parametrize(
    ("phase", "at", "victim"),
    [
        ("loading", 1, 0),
        ("loading", 1, 1),
        ("restoring", 1, 1),
        ("compiling", 1, 0),
        ("validating", 1, 1),
        ("reading", 3, 0),
        ("saving", 1, 1),
        ("ending", 1, 0),
    ],
)
def test_sigterm_in_any_phase_saves_the_same_step_everywhere(
    phase, at, victim, disturbed, experiment, expected, tmp_path
):
    """None is left behind: all end by themselves, with code 0 or the one asked for, and the run goes on."""
    options = ("--checkpoint.every", "4", "--stopped-code", "75")
    fault = {"FAULT": phase, "AT": str(at), "VICTIM": str(victim)}
    run = Started(disturbed, tmp_path, processes=2, options=options, **fault)
    code, said = run.end()
    step = run.saved()[-1]
    assert code == (0 if step == STEPS else 75), said
    assert "is killed" not in said
    assert (f"stopped by a signal at step {step}, saved" in said) == (step < STEPS)
    if phase in ("loading", "restoring", "compiling", "reading"):
        assert step < STEPS
    again = Started(experiment, tmp_path, processes=2)
    code, said = again.end()
    assert code == 0, said
    assert again.losses() == expected


@pytest.mark.multihost
def test_a_process_that_hangs_is_named_and_ends_all(disturbed, experiment, expected, tmp_path):
    fault = {"FAULT": "hang", "AT": "4", "VICTIM": "1"}
    run = Started(disturbed, tmp_path, processes=2, options=("--stall-timeout-s", "15"), **fault)
    code, said = run.end()
    assert code == 1, said
    assert "process 1 on" in said
    assert "is waiting for data after step 3" in said
    assert "its threads were at:" in said
    assert "time.sleep" in said or "disturbed" in said, "where it hangs can be read"
    again = Started(experiment, tmp_path, processes=2)
    assert again.end()[0] == 0
    assert again.losses() == expected


@pytest.mark.multihost
def test_a_host_that_stands_still_is_named_and_ends_the_others(experiment, tmp_path):
    """SIGSTOP: it neither answers nor closes its connections, as a host that lost its network."""
    run = Started(experiment, tmp_path, processes=2, grace=1, options=("--stall-timeout-s", "15", "--steps", "100000"))
    run.until(rows=5)
    run.signal(signal.SIGSTOP, process=1)
    code, said = run.end()
    assert code == 1, said
    assert "(stall_timeout_s is 15)" in said
    assert "process 1" in said.split("(stall_timeout_s is 15): ")[1].split("\n")[0]


def kill_at_random(
    experiment: Path, workdir: Path, *, kills: int, processes: int, options: tuple[str, ...], draw: random.Random
) -> tuple[dict[int, float], list[str]]:
    """Kill a process of a run at random moments, so often, then let it end; return its losses and what was killed."""
    killed: list[str] = []
    while len(killed) < kills:
        run = Started(experiment, workdir, processes=processes, grace=60, options=options)
        before = len(run.rows())
        # Some while it starts, most while it trains and saves.
        if draw.random() < 0.2:
            deadline = time.monotonic() + draw.uniform(0, 15)
            while time.monotonic() < deadline and not run.ended():
                time.sleep(0.05)
        else:
            while not run.ended() and len(run.rows()) in (0, before):
                time.sleep(0.05)
            time.sleep(draw.uniform(0, 2))
        saving = any("tmp" in path.name for path in (workdir / "checkpoints").glob("*"))
        victim = draw.randrange(processes)
        if run.signal(signal.SIGKILL, process=victim):
            killed.append(f"process {victim} {'during a save' if saving else ''} after {len(run.rows())} rows")
        code, said = run.end()
        assert code in (0, 128 + signal.SIGKILL), said
        assert "is killed" not in said, said
        assert "is not used" not in said, said
        if code == 0:
            break
    code, said = Started(experiment, workdir, processes=processes, options=options).end()
    assert code == 0, said
    return run.losses(), killed


@pytest.mark.faults
@pytest.mark.parametrize(
    ("kills", "steps"), [pytest.param(3, 60), pytest.param(100, 6_000, marks=pytest.mark.long)], ids=["few", "hundred"]
)
def test_kills_at_random_moments_change_nothing(kills, steps, experiment, tmp_path):
    whole = Started(
        experiment, tmp_path / "whole", processes=2, options=("--steps", str(steps), "--validation.source", "")
    )
    code, said = whole.end()
    assert code == 0, said
    losses, killed = kill_at_random(
        experiment, tmp_path / "killed", kills=kills, processes=2, options=options, draw=random.Random(0)
    )
    print(f"{len(killed)} kills, {sum('during a save' in kill for kill in killed)} during a save")
    assert losses == whole.losses()
