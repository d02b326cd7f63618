"""What the machine lacks is told from damage of what was read."""

import errno
import io
import json
import re
import subprocess
import sys

import pytest

from samjax.core.machine_faults import machine_fault


def raised(error, *, cause=None):
    try:
        raise error from cause
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(errno.EMFILE, "Too many open files"), r"Too many open files: this process may have [\d,]+ files open"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error: check the disk"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device: make room"),
        (MemoryError(), "Cannot allocate memory"),
        (RuntimeError("open() failed: Too many open files; opening /data/x-00001-of-01000"), "Too many open files"),
        (RuntimeError("pread() failed: Input/output error; reading /data/x; at byte 0"), "Input/output error"),
        (ValueError("RESOURCE_EXHAUSTED: Failed to open: \"d/0\": Too many open files [os_error_code='24']"), "ulimit"),
        (raised(ValueError("broken photo"), cause=MemoryError()), "Cannot allocate memory"),
        (raised(ValueError("broken photo"), cause=raised(OSError("image"), cause=OSError(errno.ESTALE, "x"))), "Stale"),
    ],
    ids=str,
)
def test_a_fault_of_the_machine_is_named(error, says):
    assert re.search(says, machine_fault(error) or "")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("annotation 3: area is 7"),
        ValueError("file_name is Too many open files"),
        OSError("image file is truncated"),  # as PIL says of a photo
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        RuntimeError("open() failed: No such file or directory; opening /data/x"),
        json.JSONDecodeError("Expecting value", "", 0),
        io.UnsupportedOperation("seek"),
    ],
    ids=str,
)
def test_damage_is_no_fault_of_the_machine(error):
    assert machine_fault(error) is None


RAISES = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 100))
from samjax.core.machine_faults import open_file_limit, raise_open_file_limit
raise_open_file_limit()
print(open_file_limit())
"""


def test_the_soft_limit_of_files_becomes_the_hard_one():
    said = subprocess.run([sys.executable, "-c", RAISES], capture_output=True, text=True, check=True).stdout
    assert said == "100\n"


@pytest.mark.parametrize(
    ("error", "damaged"),
    [
        (ValueError("RESOURCE_EXHAUSTED: Failed to open: x: Too many open files [os_error_code='24']"), False),
        (ValueError("DATA_LOSS: Error reading local file x: Input/output error [os_error_code='5']"), False),
        (raised(KeyError("state"), cause=MemoryError()), False),
        (ValueError("NOT_FOUND: x is missing"), True),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), True),
    ],
    ids=str,
)
def test_a_checkpoint_is_not_put_aside_for_what_the_machine_lacks(error, damaged):
    from samjax.checkpoint.damage import is_its_fault

    assert is_its_fault(error) is damaged
