#!/usr/bin/env python3
"""Run a training as several processes on this machine, as a cluster would.

    python launch/local.py --processes 4 -- experiments/sam/smoke.py --workdir runs/four
    python launch/local.py --processes 2 --dry-run -- experiments/sam/smoke.py

Arguments after `--` go to `samjax train`. The processes communicate over this machine's loopback (gloo), each with the
devices that JAX gives a process, one on a CPU. Ctrl-C and SIGTERM go to all of them: they save and stop. If one exits
with an error, the others get `--grace` seconds to notice and are then killed; the exit code is that of the first error.
"""

import argparse
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TextIO


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def commands(processes: int, arguments: list[str], *, port: int) -> list[list[str]]:
    """Return the command of each process."""
    samjax = [sys.executable, "-m", "samjax.cli.main", "train", *arguments, "--coordinator", f"127.0.0.1:{port}"]
    return [[*samjax, "--processes", str(processes), "--process", str(index)] for index in range(processes)]


def pump(index: int, lines: TextIO) -> None:
    """Print a process's output, with its number before each line."""
    for line in lines:
        sys.stdout.write(f"[{index}] {line}")
        sys.stdout.flush()


def wait(children: list[subprocess.Popen], *, grace: float) -> int:
    """Wait for all, or for the first error and `grace` seconds more; return the first error's exit code, else 0."""
    failed, deadline = 0, float("inf")
    running = True
    while running:
        time.sleep(0.1)
        codes = [child.poll() for child in children]
        running = None in codes
        # A process that was killed comes before those that end since it is gone.
        errors = sorted((code, index) for index, code in enumerate(codes) if code)
        if errors and not failed:
            (failed, index), deadline = errors[0], time.monotonic() + grace
            print(f"process {index} ended with {ended(failed)}; the others have {grace:.0f} s", file=sys.stderr)
        if time.monotonic() > deadline:
            for index, child in enumerate(children):
                if child.poll() is None:
                    print(f"process {index} did not end by itself and is killed", file=sys.stderr)
                    child.kill()
            deadline = float("inf")
    return 128 - failed if failed < 0 else failed


def ended(code: int) -> str:
    """Return an exit code in words."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def main() -> int:
    """Run them, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--grace", type=float, default=120.0, help="seconds that the other processes get after an error"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the commands")
    parser.add_argument("arguments", nargs="+", metavar="-- EXPERIMENT.py ...", help="arguments of `samjax train`")
    known = parser.parse_args()
    if known.processes < 1:
        parser.error(f"--processes is {known.processes}; give 1 or more")
    if not 0 <= known.grace < float("inf"):
        parser.error(f"--grace is {known.grace}; give a number of seconds, 0 or more")

    planned = commands(known.processes, known.arguments, port=free_port())
    if known.dry_run:
        print("\n".join(shlex.join(command) for command in planned))
        return 0
    children = [
        # A session of its own each, so that Ctrl-C reaches them once, from here.
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        for command in planned
    ]

    def forward(number: int, _: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    pumps = [
        threading.Thread(target=pump, args=(index, child.stdout), daemon=True) for index, child in enumerate(children)
    ]
    for thread in pumps:
        thread.start()
    code = wait(children, grace=known.grace)
    for thread in pumps:
        thread.join(timeout=10)
    return code


if __name__ == "__main__":
    sys.exit(main())
