"""Runs of several processes, started as a user starts them, and what happens to them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from helpers import kept_programs
from helpers.xla_flags import quick

STEPS = 6
"""Of the experiment, where nothing else is said."""

LOCAL = Path(__file__).parents[2] / "launch" / "local.py"
SECONDS = 900

EXPERIMENT = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from helpers.micro import micro_run
from samjax.parallel.mesh import MeshConfig
from samjax.training.config import CheckpointConfig
from samjax.tasks.promptable import ClickValidationConfig

def config():
    return micro_run(
        "TRAIN", mesh=MeshConfig(), batch_size=4, checkpoint=CheckpointConfig(every=2),
        validation=ClickValidationConfig(source="VAL", every=4, photos=6, batch_size=4, max_masks=2))
"""


def write_experiment(path: Path, prepared: Path, *, more: str = "") -> Path:
    """Write an experiment of the micro model on the shipped photos; `more` is Python that each process runs first."""
    text = EXPERIMENT.replace("TRAIN", str(prepared / "train")).replace("VAL", str(prepared / "val"))
    path.write_text(more + text)
    return path


def commands_running() -> list[tuple[int, list[str]]]:
    """Return pid and command of each process of this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found.append((int(folder.name), (folder / "cmdline").read_text().split("\0")[:-1]))
        except OSError:
            continue  # it has ended
    return found


def read_rows(workdir: Path) -> list[dict]:
    """Return the rows of metrics that are there, without one that is being written."""
    path = workdir / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


class Started:
    """A run of some processes."""

    def __init__(self, experiment: Path, workdir: Path, *, processes: int, grace: float = 30, options=(), **variables):
        self.workdir = workdir
        settings = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1", "XLA_FLAGS": quick()}
        self._process = subprocess.Popen(
            [
                *(sys.executable, LOCAL, "--processes", str(processes), "--grace", str(grace), "--"),
                *(experiment, "--workdir", workdir, *options),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **kept_programs.variables(), **settings, **variables},
        )

    def until(self, *, rows: int, since: float = 0.0, saved: int = 0) -> None:
        """Wait for so many rows of metrics, in a file that was written to after `since`: a start drops some first.

        And for so many whole checkpoints: steps go on while one is written.
        """
        deadline = time.monotonic() + SECONDS
        metrics = self.workdir / "metrics.jsonl"
        while len(self.rows()) < rows or metrics.stat().st_mtime < since or len(self.saved()) < saved:
            if self.ended() or time.monotonic() > deadline:
                raise AssertionError(self.end())
            time.sleep(0.02)

    def ended(self) -> bool:
        return self._process.poll() is not None

    def pid(self, process: int) -> int | None:
        """Return the pid of one of the processes, None if there is none."""
        for pid, command in commands_running():
            if str(self.workdir) in command and command[-2:] == ["--process", str(process)]:
                return pid
        return None

    def signal(self, number: int, *, process: int) -> bool:
        """Send a signal to one of the processes alone; return whether it was there."""
        pid = self.pid(process)
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True

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
        """Return the rows of its metrics."""
        rows = read_rows(self.workdir)
        return rows if split is None else [row for row in rows if row.get("split", "train") == split]

    def losses(self) -> dict[int, float]:
        """Return the loss of each step."""
        return {row["step"]: row["loss"] for row in self.rows("train")}

    def saved(self) -> list[int]:
        """Return the steps of the checkpoints that are whole."""
        return sorted(int(step.name) for step in (self.workdir / "checkpoints").glob("*") if step.name.isdecimal())
