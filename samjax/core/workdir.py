"""A run's folder is one run's."""

import contextlib
import fcntl
import logging
import os
import socket
from collections.abc import Iterator

from etils import epath

from samjax.core.errors import UserError

log = logging.getLogger(__name__)


def is_bucket(workdir: epath.PathLike) -> bool:
    """Return whether it is an address, such as gs://, and no folder of a file system."""
    return "://" in str(workdir)


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
        raise UserError(f"{workdir} cannot be written to: {error}; give another {option}") from None
    with file:
        locked = True
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):  # either, by POSIX
            file.seek(0)
            raise UserError(
                f"{workdir} is in use by another run ({file.read(200).strip() or 'unknown'}): "
                f"stop that one first, or give this one another {option}"
            ) from None
        except OSError as error:
            locked = False
            log.info("%s cannot be locked (%s): see to it that no two runs share it", workdir, error.strerror)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield locked
