"""Two runs do not share a folder, and none is locked out of its own."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from samjax.core.errors import UserError
from samjax.core.folder import lock_folder

HOLDS = """
import sys, time
from samjax.core.folder import lock_folder
with lock_folder(sys.argv[1]):
    print("held", flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDS, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_folder_that_is_in_use_is_refused_until_its_process_is_gone(other, tmp_path):
    for _ in range(2):
        with (
            pytest.raises(UserError, match=rf"run is in use by another run \(process {other.pid} on .*--workdir"),
            lock_folder(tmp_path / "run"),
        ):
            pass
    other.send_signal(signal.SIGKILL)
    other.wait()
    with lock_folder(tmp_path / "run"):
        pass


def test_one_process_after_the_other(tmp_path):
    for _ in range(2):
        with lock_folder(tmp_path / "a" / "run"):
            assert (tmp_path / "a" / "run").is_dir()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"cannot be written to: .*file.*another --workdir"),
        lock_folder(tmp_path / "file"),
    ):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_of_and_used(tmp_path, monkeypatch, caplog, number):
    caplog.set_level("INFO")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock_folder(tmp_path / "run"):
        assert "make sure that no two processes write to it" in caplog.text


def test_a_disk_that_fails_when_it_locks_is_one_sentence(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", fail)
    with (
        pytest.raises(UserError, match=r"run cannot be written to: .*Input/output error"),
        lock_folder(tmp_path / "run"),
    ):
        pass
