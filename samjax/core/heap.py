"""Memory that this process holds without using it."""

import ctypes


def return_free_memory() -> None:
    """Give freed memory back to the system, where the C library can: glibc.

    It keeps what XLA's compiler freed for the next compilation: 1.3 GB after the step of a small model.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
