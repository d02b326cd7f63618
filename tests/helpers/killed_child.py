"""Children that die by SIGKILL at a chosen operation on files, for tests of what a kill leaves behind."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any


def comes_to_its_end(
    work: Callable[[], int | None], *, operations: Sequence[tuple[Any, str]], die_at: int, after: bool = False
) -> bool:
    """Return whether a child that does `work`, and dies at its `die_at`-th operation, ended by itself.

    Args:
      work: may return an exit code, which must be 0.
      operations: owner and name of each function that counts.
      die_at: from 1; 0 is never.
      after: die after the operation, not before it.
    """
    child = os.fork()
    if child == 0:
        _count(operations, die_at=die_at, after=after)
        try:
            code = work() or 0
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.waitstatus_to_exitcode(status) == 0
    return True


def _count(operations: Sequence[tuple[Any, str]], *, die_at: int, after: bool) -> None:
    count = 0

    def counted(operation: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            is_last = count == die_at
            if is_last and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = operation(*arguments, **named)
            if is_last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    for owner, name in operations:
        setattr(owner, name, counted(getattr(owner, name)))
