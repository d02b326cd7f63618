"""Tells faults of the machine (a limit, a full disk, a lost connection) from damaged data."""

import errno
import os
import re
import resource
from collections.abc import Iterator

from samjax.core.errors import MachineError

_HOLDER = "check the disk or the network that holds the file"
_FAULTS: dict[int, str] = {
    errno.EMFILE: "this process may have {limit:,} files open: raise that limit with `ulimit -n`",
    errno.ENFILE: "the system has run out of file descriptors: close other programs",
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
"""What to do about each system error that is not about a file's contents."""
_NUMBERS = {os.strerror(number): number for number in _FAULTS}
_WRAPPED = re.compile(
    r"os_error_code='(?P<tensorstore>\d+)'|\[Errno (?P<python>\d+)\]"
    rf"|failed: (?P<array_record>{'|'.join(map(re.escape, _NUMBERS))})"
)


def machine_fault(error: BaseException) -> str | None:
    """Return what the machine lacks and what to do about it; None if `error` does not come from the machine.

    Libraries wrap system errors in their own: this follows causes, and looks for the system error's number or text in
    messages, as in ArrayRecord's "open() failed: Too many open files".
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
    """Raise MachineError, "`what` (the fault)", if `error` comes from the machine."""
    if fault := machine_fault(error):
        raise MachineError(f"{what} ({fault})") from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield `error` and its chain of causes and contexts."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def raise_open_file_limit() -> None:
    """Raise the limit of open files, for this process and its children, as far as the system allows.

    The usual soft limit of 1,024 exists for programs that use select(); a data set may have more shards.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):  # macOS needs a finite limit
            return


def open_file_limit() -> int:
    """Return how many files this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**20 if soft == resource.RLIM_INFINITY else soft
