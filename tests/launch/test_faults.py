"""Processes of a run are killed, told to stop, stopped short and hung; whatever comes of it, its losses are the same.

The long ones take tens of minutes; `docs/reliability.md` has their figures.
"""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from started import STEPS, Started, read_rows, write_experiment

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
    from samjax.data.stream.loader import TrainStream
    from samjax.tasks.click_validation import ClickValidator
    from samjax.training import loop

    fault, at = os.environ["FAULT"], int(os.environ.get("AT", "1"))
    if fault == "loading":
        os.kill(os.getpid(), signal.SIGTERM)
    else:
        owner, name = {
            "restoring": (Checkpoints, "restore_newest"), "compiling": (loop, "lower_train_step"),
            "validating": (ClickValidator, "__call__"), "saving": (Checkpoints, "save"),
            "reading": (TrainStream, "__next__"), "hang": (TrainStream, "__next__"), "ending": (Checkpoints, "wait"),
        }[fault]
        disturb(owner, name, at=at)
"""


@pytest.fixture(scope="module")
def disturbed(prepared, tmp_path_factory) -> Path:
    """An experiment that does what FAULT, AT and VICTIM say."""
    return write_experiment(tmp_path_factory.mktemp("disturbed") / "experiment.py", prepared, more=FAULTS)


long = pytest.mark.long


@pytest.mark.multihost
@pytest.mark.parametrize(
    ("phase", "victim"),
    [
        pytest.param("loading", 0, marks=long),
        pytest.param("loading", 1, marks=long),
        pytest.param("restoring", 1, marks=long),
        pytest.param("compiling", 0, marks=long),
        pytest.param("validating", 1, marks=long),
        pytest.param("reading", 0, marks=long),
        ("saving", 1),
        pytest.param("ending", 0, marks=long),
    ],
)
def test_sigterm_in_any_phase_saves_one_step_everywhere(phase, victim, disturbed, tmp_path):
    """None is left behind: all end by themselves, with code 0 if the run is done, else with the one asked for."""
    options = ("--checkpoint.every", "4", "--stopped-code", "75")
    if phase != "validating":
        options += ("--validation.source", "")
    run = Started(disturbed, tmp_path, processes=2, options=options, FAULT=phase, AT="1", VICTIM=str(victim))
    code, said = run.end()
    step = run.saved()[-1]
    assert code == (0 if step == STEPS else 75), said
    assert "is killed" not in said
    assert (f"stopped by a signal at step {step}, saved" in said) == (step < STEPS)
    assert step == STEPS if phase == "ending" else step < STEPS


@pytest.mark.multihost
@pytest.mark.long  # tests/training/test_stall.py has what notices it
def test_a_process_that_hangs_is_named_and_ends_all(disturbed, tmp_path):
    options = ("--stall-timeout-s", "30", "--validation.source", "", "--checkpoint.every", "1000")
    run = Started(disturbed, tmp_path, processes=2, options=options, FAULT="hang", AT="4", VICTIM="1")
    code, said = run.end()
    assert code == 1, said
    assert "process 1 on" in said
    assert "is waiting for data after step 3" in said
    assert "its main thread is at:" in said
    assert "in disturbed" in said, "where it hangs can be read"


@pytest.mark.multihost
@pytest.mark.long  # tests/training/test_stall.py has what notices it
def test_a_host_that_stands_still_is_named_and_ends_the_others(experiment, tmp_path):
    """SIGSTOP: it neither answers nor closes its connections, as a host that lost its network."""
    options = (
        "--stall-timeout-s",
        "30",
        "--steps",
        "100000",
        "--validation.source",
        "",
        "--checkpoint.every",
        "1000000",
    )
    run = Started(experiment, tmp_path, processes=2, grace=1, options=options)
    run.until(rows=5)
    run.signal(signal.SIGSTOP, process=1)
    code, said = run.end()
    assert code == 1, said
    assert "(stall_timeout_s is 30)" in said
    assert "process 1" in said.split("(stall_timeout_s is 30): ")[1].split("\n")[0]


def kill_at_random(experiment: Path, workdir: Path, *, kills: int, processes: int, draw: random.Random) -> list[str]:
    """Kill a process of a run at random moments, so often, each time started again; return what was killed when."""
    killed: list[str] = []
    while len(killed) < kills:
        options = ("--steps", "1000000", "--validation.source", "")
        began = time.time()
        # Who waits for the killed one in a collective hears of it at once; in a save's barrier after JAX's 100 s.
        run = Started(experiment, workdir, processes=processes, grace=150, options=options)
        starting = draw.random() < 0.2
        if starting:
            time.sleep(draw.uniform(0, 15))
        else:  # some steps and saves after it went on
            run.until(rows=1, since=began)
            run.until(rows=len(run.rows()) + draw.randint(1, 12))
            time.sleep(draw.uniform(0, 0.5))
        saving = any("tmp" in path.name for path in (workdir / "checkpoints").glob("*"))
        victim = draw.randrange(processes)
        assert run.signal(signal.SIGKILL, process=victim), run.end()
        code, said = run.end()
        assert code == 128 + signal.SIGKILL, said
        assert starting or "is killed" not in said, said  # who has not met the others yet waits longer for them
        assert "is not used" not in said, said
        killed.append(f"process {victim} after {len(run.rows())} rows{', during a save' if saving else ''}")
    return killed


@pytest.mark.faults
@pytest.mark.parametrize(
    ("kills", "processes"),
    [pytest.param(3, 1, marks=long), pytest.param(100, 1, marks=long), pytest.param(20, 2, marks=long)],
)
def test_kills_at_random_moments_change_nothing(kills, processes, experiment, tmp_path):
    killed = kill_at_random(
        experiment, tmp_path / "killed", kills=kills, processes=processes, draw=random.Random(kills)
    )
    steps = max((row["step"] for row in read_rows(tmp_path / "killed")), default=0) + 4
    losses = []
    for name in ("killed", "whole"):
        options = ("--steps", str(steps), "--validation.source", "")
        run = Started(experiment, tmp_path / name, processes=processes, options=options)
        code, said = run.end()
        assert code == 0, said
        losses.append(run.losses())
    print("\n".join(killed))
    print(f"{kills} kills, {sum('save' in kill for kill in killed)} during a save, {steps} steps")
    assert list(losses[0]) == list(range(1, steps + 1))
    assert losses[0] == losses[1]


@pytest.mark.faults
@pytest.mark.long
@pytest.mark.parametrize(("every", "kib_a_step"), [(10, 50), (100_000, 5)], ids=["saving", "not saving"])
def test_host_memory_over_many_steps(every, kib_a_step, experiment, tmp_path):
    """Flat over 2,000 steps, but for what TensorStore loses in a save: a JSON for each of the state's 352 arrays."""
    options = ("--steps", "2000", "--checkpoint.every", str(every), "--validation.source", "", "--log-every", "5")
    run = Started(experiment, tmp_path, processes=1, options=options)
    held: list[tuple[int, float]] = []
    while not run.ended():
        rows, pid = run.rows(), run.pid(0)
        with contextlib.suppress(OSError, IndexError):
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            held.append((rows[-1]["step"], pages * os.sysconf("SC_PAGE_SIZE") / 2**10))
        time.sleep(0.5)
    code, said = run.end()
    assert code == 0, said
    steps, kib = np.array([(step, kib) for step, kib in held if 500 <= step < 2000]).T  # not the last save's
    slope = np.polyfit(steps, kib, 1)[0]
    print(f"{kib[0] / 1024:.0f} MiB after 500 steps, {kib[-1] / 1024:.0f} MiB at the end, {slope:+.1f} KiB a step")
    assert len(kib) > 50
    assert slope < kib_a_step
