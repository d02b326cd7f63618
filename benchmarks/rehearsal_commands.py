"""Commands of samjax for `data_engine.py`, each in a process of its own, as a user starts them."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).parent.parent
_START_S, _STOP_S, _ANSWER_S = 600, 60, 600
_TOLD = 20
"""Lines of a log to show where a command fails."""


def run(log: Path, *words: Any) -> None:
    """Run `samjax WORDS`, its output appended to a log; print the command and how long it took.

    Raises:
      SystemExit: it failed.
    """
    print(f"$ {shlex.join(['samjax', *map(str, words)])}", flush=True)
    start = time.monotonic()
    with log.open("a") as output:
        code = subprocess.run(_process(words), cwd=ROOT, env=_environment(), stdout=output, stderr=output).returncode
    if code:
        raise SystemExit(f"{_end(log)}\nit failed with {code}: see {log}; start again to resume")
    print(f"  {time.monotonic() - start:.0f} s", flush=True)


@contextlib.contextmanager
def serving(log: Path, *words: Any, annotator: str) -> Iterator[httpx2.Client]:
    """Start `samjax annotate WORDS` and yield a client of its page; stop it with Ctrl-C's signal.

    Raises:
      SystemExit: it does not start, or does not end well.
    """
    words = ("annotate", *words, "--port", 0)
    print(f"$ {shlex.join(['samjax', *map(str, words)])}", flush=True)
    with log.open("a") as output:
        output.seek(0, os.SEEK_END)
        before = output.tell()
        process = subprocess.Popen(_process(words), cwd=ROOT, env=_environment(), stdout=output, stderr=output)
    try:
        address = _address(process, log, before)
        headers = {"X-Annotator": annotator}
        with httpx2.Client(base_url=address, headers=headers, timeout=_ANSWER_S, trust_env=False) as client:
            yield client
        process.send_signal(signal.SIGINT)
        if process.wait(_STOP_S):
            raise SystemExit(f"{_end(log)}\nthe server ended with {process.returncode}: see {log}")
    finally:
        process.kill()
        process.wait()


def _address(process: subprocess.Popen, log: Path, before: int) -> str:
    """Return the address that a server prints when it answers."""
    limit = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < limit:
        for line in log.read_bytes()[before:].decode(errors="replace").splitlines():
            if line.startswith("open http"):
                return line.split()[1]
        time.sleep(0.1)
    raise SystemExit(f"{_end(log)}\nthe server did not start: see {log}")


def _process(words: tuple[Any, ...]) -> list[str]:
    return [sys.executable, "-m", "samjax.cli.main", *map(str, words)]


def _environment() -> dict[str, str]:
    """Return the environment in which this checkout's samjax is found."""
    path = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": str(ROOT) if not path else f"{ROOT}{os.pathsep}{path}"}


def _end(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_TOLD:])
