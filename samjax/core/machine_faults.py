"""Faults of the machine (a limit, a full disk, a lost connection), told from damage of the data that was read."""

import errno
import os
import re
import resource
from collections.abc import Iterator

from samjax.core.errors import MachineError

_HOLDER = "look at the disk or the network that holds the file"
_FAULTS: dict[int, str] = {
    errno.EMFILE: "this process may have {limit:,} files open: raise that limit with `ulimit -n`",
    errno.ENFILE: "the whole system has no file descriptor left: close other programs",
    errno.ENOMEM: "free memory, or use fewer workers and threads",
    errno.EAGAIN: "free memory, or use fewer workers and threads",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or ask for a larger quota",
    errno.EIO: _HOLDER,
    errno.ESTALE: _HOLDER,
    errno.ETIMEDOUT: _HOLDER,
    errno.ENOTCONN: _HOLDER,
    errno.ECONNABORTED: _HOLDER,
    errno.ECONNRESET: _HOLDER,
    errno.EHOSTDOWN: _HOLDER,
    errno.EHOSTUNREACH: _HOLDER,
    errno.ENETDOWN: _HOLDER,
    errno.ENETUNREACH: _HOLDER,
    errno.EREMOTEIO: _HOLDER,
    errno.ENODEV: _HOLDER,
    errno.ENXIO: _HOLDER,
}
"""What to do about each of the system's errors that says nothing of a file's contents."""
_NUMBERS = {os.strerror(number): number for number in _FAULTS}
_WRAPPED = re.compile(
    r"os_error_code='(?P<tensorstore>\d+)'|\[Errno (?P<python>\d+)\]"
    rf"|failed: (?P<array_record>{'|'.join(map(re.escape, _NUMBERS))})"
)


def machine_fault(error: BaseException) -> str | None:
    """Return what the machine lacks and what to do about it, None where `error` does not come from the machine.

    Libraries wrap the system's errors in their own: causes are followed, and the number or the text of the system's
    error is looked for in messages, as in ArrayRecord's "open() failed: Too many open files".
    """
    for link in _chain(error):
        number = errno.ENOMEM if isinstance(link, MemoryError) else link.errno if isinstance(link, OSError) else None
        if number is None and (found := _WRAPPED.search(str(link))):
            text = found["array_record"]
            number = _NUMBERS[text] if text else int(found["tensorstore"] or found["python"])
        if number in _FAULTS:
            return f"{os.strerror(number)}: {_FAULTS[number].format(limit=open_file_limit())}"
    return None


def raise_machine_fault(error: BaseException, *, what: str) -> None:
    """Raise MachineError, "`what` (the fault)", where `error` comes from the machine."""
    if fault := machine_fault(error):
        raise MachineError(f"{what} ({fault})") from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error` and what it was raised from, or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def raise_open_file_limit() -> None:
    """Let this process, and those that it starts, open as many files as the system lets it.

    The usual soft limit of 1,024 is for programs that use select(); a data set may have more shards than that.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS takes no limit without a number
            return


def open_file_limit() -> int:
    """Return how many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft
