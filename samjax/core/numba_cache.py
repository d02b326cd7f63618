"""Loops over arrays compiled by Numba, without Python's lock.

Numba compiles at the first call, seconds on a laptop, and keeps the code beside the function's file or, where that
cannot be written, in the user's cache folder.
"""

import functools
from collections.abc import Callable
from typing import Any

import numba


def jit_kernel(function: Callable[..., Any]) -> Any:
    """Return `function` compiled at its first call, from a cache on disk where there is a place for one.

    The cache is renewed when the file of `function` changes, not when another file does: what it calls belongs beside
    it.
    """
    compile_ = functools.partial(numba.njit, nogil=True)
    try:
        return compile_(cache=True)(function)
    except RuntimeError:  # neither this folder nor the user's cache folder can be written
        return compile_()(function)
