"""How readers show what they are at."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

Progress = Callable[..., AbstractContextManager[Callable[[int], None]]]
"""Called as `no_progress` is; shows a bar of `total` `what`, and yields what moves it by a number of them."""


def no_progress(what: str, *, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """Show nothing."""
    del what, total
    return contextlib.nullcontext(lambda _: None)
