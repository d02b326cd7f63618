"""A run's folder is one run's."""

import contextlib
import enum
import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from typing import IO

from etils import epath

from samjax.core.errors import UserError
from samjax.core.text import printable

log = logging.getLogger(__name__)

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""How file systems refuse locks: NFS without lockd, Lustre mounted without flock, FUSE, shared folders."""


def is_bucket(workdir: epath.PathLike) -> bool:
    """Return whether it is an address, such as gs://, and no folder of a file system."""
    return "://" in str(workdir)


class Lock(enum.Enum):
    """Whose a lock is."""

    OURS = "ours"
    ANOTHERS = "another's"
    MISSING = "missing"
    """The file system has no locks."""


def try_lock(file: IO[str], *, folder: str) -> Lock:
    """Lock `file` until it is closed or its process ends, unless another process holds it.

    On a file system without locks a line says that nothing keeps others out of `folder`.

    Raises:
      OSError: the disk fails.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):  # EACCES: as NFS says it
            return Lock.ANOTHERS
        if error.errno not in _NO_LOCKS:
            raise
        log.info(
            "%s cannot be locked (%s): see to it that no two processes write to it", printable(folder), error.strerror
        )
        return Lock.MISSING
    return Lock.OURS


@contextlib.contextmanager
def held(workdir: epath.PathLike, *, option: str = "--workdir") -> Iterator[bool]:
    """Keep other runs out of `workdir`, which is made; they would write over each other's files.

    A lock on its file `.lock`, which the operating system takes back however this process ends. Where the file system
    has no locks, as buckets, nothing keeps them out. `option` is what the user gave the folder by.

    Yields:
      Whether nobody else can be in it.

    Raises:
      UserError: another process holds it, or the folder cannot be written to.
    """
    folder = epath.Path(workdir)
    if is_bucket(workdir):
        folder.mkdir(parents=True, exist_ok=True)
        yield False
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / ".lock", "a+")  # noqa: SIM115
    except OSError as error:
        raise _not_writable(workdir, error, option) from None
    with file:
        try:
            lock = try_lock(file, folder=str(workdir))
        except OSError as error:
            raise _not_writable(workdir, error, option) from None
        if lock is Lock.ANOTHERS:
            file.seek(0)
            raise UserError(
                f"{workdir} is in use by another run ({file.read(200).strip() or 'unknown'}): "
                f"stop that one first, or give this one another {option}"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield lock is Lock.OURS


def _not_writable(workdir: epath.PathLike, error: OSError, option: str) -> UserError:
    return UserError(f"{workdir} cannot be written to: {error}; give another {option}")
