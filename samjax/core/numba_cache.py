"""Loops over arrays, compiled by Numba to run without Python's lock.

Numba compiles at the first call, which takes seconds, and caches the code beside the function's file or, if that is
read-only, in the user's cache folder.
"""

import functools
from collections.abc import Callable
from typing import Any

import numba


def jit_kernel(function: Callable[..., Any]) -> Any:
    """Return `function`, compiled at its first call and cached on disk where possible.

    The cache is invalidated when the file of `function` changes, not when another file does: keep what it calls in the
    same file.
    """
    compile_ = functools.partial(numba.njit, nogil=True)
    try:
        return compile_(cache=True)(function)
    except RuntimeError:  # neither this folder nor the user's cache folder can be written
        return compile_()(function)
