"""Several processes of one run, started as `launch/local.py` starts them."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LOCAL = Path(__file__).parents[2] / "launch" / "local.py"
STEPS, EVERY = 6, 2
SECONDS = 200

EXPERIMENT = """
from samjax.core.config import load_experiment  # noqa: F401
from samjax.data.pipeline import DataConfig
from samjax.losses.sam import LossConfig
from samjax.models.sam.config import ImageEncoderConfig, MaskDecoderConfig, SamConfig
from samjax.prompting.interactive import InteractionConfig
from samjax.train.config import CheckpointConfig, TrainConfig, ValidationConfig

def config():
    return TrainConfig(
        model=SamConfig(
            image_size=(64, 64), embedding=32,
            image_encoder=ImageEncoderConfig(width=32, depth=2, heads=2, window=3, global_every=2),
            mask_decoder=MaskDecoderConfig(hidden=32, heads=2, dropout=0.0), dtype="float32"),
        data=DataConfig(source={train!r}, max_masks=2),
        prompting=InteractionConfig(corrections=1),
        loss=LossConfig(loss_size=32),
        validation=ValidationConfig(source={val!r}, every=4, photos=6, batch_size=4, max_masks=2),
        checkpoint=CheckpointConfig(every=2),
        steps=6, batch_size=4, log_every=1)
"""


def commands_running() -> list[tuple[int, list[str]]]:
    """Return pid and command of each process of this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((int(folder.name), (folder / "cmdline").read_text().split("\0")[:-1]))
        except OSError:
            continue  # it has ended
    return found


class Started:
    """A run of some processes."""

    def __init__(self, experiment: Path, workdir: Path, *, processes: int, grace: float = 30, options=()):
        self.workdir = workdir
        environment = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
        self._process = subprocess.Popen(
            [
                *(sys.executable, LOCAL, "--processes", str(processes), "--grace", str(grace), "--"),
                *(experiment, "--workdir", workdir, *options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )

    def until(self, *, rows: int) -> None:
        """Wait for so many rows of metrics."""
        deadline = time.monotonic() + SECONDS
        while len(self.rows()) < rows:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self.end())
            time.sleep(0.1)

    def signal(self, number: int, *, process: int) -> None:
        """Send a signal to one of the processes alone."""
        (found,) = (
            pid
            for pid, command in commands_running()
            if str(self.workdir) in command and command[-2:] == ["--process", str(process)]
        )
        os.kill(found, number)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and what was said."""
        try:
            said = self._process.communicate(timeout=SECONDS)[0]
        finally:
            self.close()
        return self._process.returncode, said

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        for pid, command in commands_running():
            if str(self.workdir) in command and pid != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.communicate()

    def rows(self, split: str | None = None) -> list[dict]:
        path = self.workdir / "metrics.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines() if line] if path.exists() else []
        return rows if split is None else [row for row in rows if row.get("split", "train") == split]

    def losses(self) -> dict[int, float]:
        """Return the loss of each step."""
        return {row["step"]: row["loss"] for row in self.rows("train")}

    def saved(self) -> list[int]:
        return sorted(int(step.name) for step in (self.workdir / "checkpoints").iterdir() if step.name.isdecimal())


@pytest.fixture(scope="module")
def experiment(prepared, tmp_path_factory):
    path = tmp_path_factory.mktemp("experiment") / "micro.py"
    path.write_text(EXPERIMENT.format(train=str(prepared / "train"), val=str(prepared / "val")))
    return path


@pytest.fixture(scope="module")
def undisturbed(experiment, tmp_path_factory):
    """A run of two processes from start to end."""
    run = Started(experiment, tmp_path_factory.mktemp("undisturbed"), processes=2)
    code, said = run.end()
    assert code == 0, said
    return run, said


@pytest.mark.multihost
def test_two_processes_report_once_and_validate(undisturbed):
    run, said = undisturbed
    assert [row["step"] for row in run.rows("train")] == list(range(1, STEPS + 1))
    assert [row["step"] for row in run.rows("val")] == [0, 4, 6]
    assert {row["photos"] for row in run.rows("val")} == {6}
    assert len(re.findall(r"step +6/6  train", said)) == 1
    assert sorted(path.name for path in (run.workdir / "samples").iterdir())[0] == "val_clicks_000000.png"


@pytest.mark.multihost
def test_two_processes_start_like_one(undisturbed, experiment, tmp_path):
    alone = Started(experiment, tmp_path, processes=1, options=("--steps", "1"))
    code, said = alone.end()
    assert code == 0, said
    two = undisturbed[0]
    assert two.losses()[1] == pytest.approx(alone.losses()[1], rel=1e-5)
    first, expected = (
        {name: value for name, value in run.rows("val")[0].items() if name != "split"} for run in (two, alone)
    )
    assert first == pytest.approx(expected, rel=1e-5)


@pytest.mark.multihost
def test_a_killed_process_ends_the_others_and_the_run_goes_on(undisturbed, experiment, tmp_path):
    """Bit for bit: the losses after the last checkpoint are those of a run that nobody killed."""
    run = Started(experiment, tmp_path, processes=2, grace=60, options=("--checkpoint.every", str(EVERY)))
    run.until(rows=5)
    run.signal(signal.SIGKILL, process=1)
    code, said = run.end()
    assert code == 128 + signal.SIGKILL
    assert "process 1 ended with SIGKILL" in said
    assert "is killed" not in said, "the other noticed by itself"
    again = Started(experiment, tmp_path, processes=2)
    code, said = again.end()
    assert code == 0, said
    assert "resumed from step" in said
    assert again.losses() == undisturbed[0].losses()


@pytest.mark.multihost
def test_sigterm_to_one_saves_and_ends_all(undisturbed, experiment, tmp_path):
    run = Started(experiment, tmp_path, processes=2, options=("--checkpoint.every", "1000", "--validation.source", ""))
    run.until(rows=1)
    run.signal(signal.SIGTERM, process=1)
    code, said = run.end()
    assert code == 0, said
    (step,) = run.saved()
    if step < STEPS:
        assert f"stopped by a signal at step {step}, saved" in said
    again = Started(experiment, tmp_path, processes=2, options=("--validation.source", ""))
    code, said = again.end()
    assert code == 0, said
    assert again.losses() == undisturbed[0].losses()


@pytest.mark.multihost
def test_an_error_of_one_ends_all_with_its_message(experiment, tmp_path):
    run = Started(experiment, tmp_path, processes=2, options=("--data.max-masks", "0"))
    code, said = run.end()
    assert code == 2
    assert "samjax: data max_masks is 0" in said
    assert "is killed" not in said


def test_a_dry_run_prints_what_it_would_start(capfd):
    said = subprocess.run(
        [sys.executable, LOCAL, "--processes", "3", "--dry-run", "--", "mine.py", "--steps", "4"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert len(said) == 3
    for index, command in enumerate(said):
        assert "samjax.cli.main train mine.py --steps 4 --coordinator 127.0.0.1:" in command
        assert command.endswith(f"--processes 3 --process {index}")
