"""What the C library keeps of freed memory goes back to the system."""

import ctypes
from pathlib import Path

import numpy as np
import pytest

from samjax.core.heap import return_free_memory

MIB = 2**20


def resident() -> int:
    """Return this process's memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc returns memory on request")
def test_freed_memory_is_returned():
    arrays = [np.ones(64 * 1024, np.uint8) for _ in range(3200)]  # too small to be mapped each by itself
    last = arrays[-1]  # at the end of the heap: what is before it stays
    full = resident()
    del arrays
    return_free_memory()
    assert full - resident() > 150 * MIB
    assert last[0] == 1
