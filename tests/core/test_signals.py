"""Signals are answered at once, whatever the main thread is at, and what they did is told rightly."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from samjax.core.signals import answering, interrupting, noting

# Neither the compiler nor this runs a handler of Python's while it computes.
BUSY = """
import hashlib, sys
from samjax.core.signals import answering
with answering(first=lambda: "first", second=lambda: "second") as came:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", int(sys.argv[1]))
print("came", came)
"""
PASSES_ON = """
import ctypes, os, signal, sys, time
from samjax.core.signals import answering
handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: os.write(1, b"native\\n"))
ctypes.CDLL(None).signal(int(signal.SIGTERM), handler)
with answering(first=lambda: "first", second=lambda: "second", pass_on=True) as came:
    print("ready", flush=True)
    while True:
        time.sleep(0.01)
"""


def started(script: str, *arguments: str) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_busy_process_answers_at_once_and_ends_at_the_second(number):
    process = started(BUSY, "1000000000")
    assert process.stderr is not None
    process.send_signal(number)
    assert process.stderr.readline() == "samjax: first\n"
    assert process.poll() is None
    process.send_signal(number)
    said = process.communicate(timeout=30)
    assert said == ("", "samjax: second\n")
    assert process.returncode == 128 + number


def test_one_signal_lets_it_finish():
    process = started(BUSY, "3000000")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60) == (f"came [{int(signal.SIGTERM)}]\n", "samjax: first\n")
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_passed_on_to_a_handler_that_python_does_not_know(number):
    """JAX's, which stops all processes of a run after the same step."""
    process = started(PASSES_ON)
    assert process.stdout is not None
    assert process.stderr is not None
    process.send_signal(number)
    assert process.stderr.readline() == "samjax: first\n"
    assert process.stdout.readline() == "native\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30) == ("", "samjax: second\n")
    assert process.returncode == 128 + signal.SIGTERM


def test_handlers_are_as_before_afterwards():
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with answering(first=lambda: "first", second=lambda: "second") as came:
        os.kill(os.getpid(), signal.SIGTERM)
    assert came == [signal.SIGTERM]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_outside_the_main_thread_nothing_is_handled():
    """`signal.signal` raises a ValueError there."""
    found = []

    def look() -> None:
        with answering(first=str, second=str) as came, noting() as noted, interrupting() as interrupted:
            found.append((came, noted, interrupted))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [(None, [], [])]
