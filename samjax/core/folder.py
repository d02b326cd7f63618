"""Folders that one process locks, that appear complete or not at all, and that resume only with their first
settings."""

import contextlib
import enum
import errno
import fcntl
import json
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from etils import epath

from samjax.core.errors import UserError
from samjax.core.files import is_bucket, move_whole, tell_write_errors
from samjax.core.text import printable

log = logging.getLogger(__name__)

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""Errors of file systems without locks: NFS without lockd, Lustre mounted without flock, FUSE, shared folders."""


class Lock(enum.Enum):
    """Who holds a lock."""

    OURS = "ours"
    ANOTHERS = "another's"
    MISSING = "missing"
    """The file system has no locks."""


def try_lock(file: IO[str], *, folder: str) -> Lock:
    """Lock `file` until it is closed or its process ends, unless another process holds the lock.

    On a file system without locks, warns that nothing keeps other processes out of `folder`.

    Raises:
      OSError: the disk fails.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):  # EACCES: NFS
            return Lock.ANOTHERS
        if error.errno not in _NO_LOCKS:
            raise
        log.info(
            "%s cannot be locked (%s): make sure that no two processes write to it", printable(folder), error.strerror
        )
        return Lock.MISSING
    return Lock.OURS


@contextlib.contextmanager
def lock_folder(workdir: epath.PathLike, *, option: str = "--workdir") -> Iterator[bool]:
    """Create `workdir` and keep other runs out of it: they would overwrite each other's files.

    Locks its file `.lock`; the operating system releases the lock however this process ends. Without locks in the file
    system, as in buckets, nothing keeps others out. `option` is the flag by which the user gave the folder.

    Yields:
      Whether the lock is held, so that no other process can be using the folder.

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


def check_can_write(folder: str | Path, *, option: str = "--out") -> None:
    """Check that a folder can be created, or written to if it exists, without creating it. Call it before the work.

    Raises:
      UserError: it cannot: a file is in its place or above it, permission is missing, or the disk is read-only.
    """
    if is_bucket(folder):
        return
    nearest = _nearest(folder)
    if not nearest.is_dir():
        raise UserError(f"{option} {folder}: {nearest} is a file, expected a folder: give another {option}")
    with tell_write_errors(folder, option=option), tempfile.TemporaryFile(dir=nearest):
        pass


def check_room(folder: str | Path, size: int, *, option: str = "--out") -> None:
    """Check that there is room for `size` bytes where a folder is or will be.

    Raises:
      UserError: there is less.
    """
    if is_bucket(folder):
        return
    free = shutil.disk_usage(_nearest(folder)).free
    if free < size:
        raise UserError(
            f"{folder} needs {size / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free there: free some room, or give "
            f"another {option}"
        )


def _nearest(folder: str | Path) -> Path:
    """Return the folder, or its nearest existing parent."""
    nearest = Path(folder).absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    return nearest


@contextlib.contextmanager
def whole_folder(folder: Path, *, option: str = "--out") -> Iterator[Path]:
    """Yield an empty folder that is renamed to `folder` at the end; after an error or Ctrl-C nothing is left.

    Raises:
      UserError: it cannot be written, see `tell_write_errors`.
    """
    with tell_write_errors(folder, option=option):
        folder.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        try:
            partial = holder / folder.name
            partial.mkdir()
            yield partial
            for path in partial.rglob("*"):  # safetensors makes files that only their owner can read
                path.chmod((0o777 if path.is_dir() else 0o666) & ~_umask())
            move_whole(partial, folder)
        finally:
            shutil.rmtree(holder, ignore_errors=True)


def _umask() -> int:
    """Return the process's umask."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_request(file: Path, *, fields: Mapping[str, type] = MappingProxyType({})) -> dict[str, Any]:
    """Return the settings a folder was started with: the JSON object in its file, with `fields` of these types.

    Raises:
      UserError: it cannot be read, or belongs to something else.
    """
    try:
        before = json.loads(file.read_text())
        if isinstance(before, dict) and all(isinstance(before.get(name), kind) for name, kind in fields.items()):
            return before
    except (OSError, ValueError):
        pass
    raise UserError(f"{file} is damaged: give another --out, or remove {file.parent} to start over")


def check_request(before: Mapping[str, Any], now: Mapping[str, Any], *, sentence: str) -> None:
    """Refuse to resume in a folder with settings that differ from its first ones.

    `sentence` starts the error message and says how the folder was made, as in "--out runs/x was begun".

    Raises:
      UserError: the first difference, by name.
    """
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise UserError(
                f"{sentence} with {name} {before.get(name)}, now it is {now.get(name)}: resume with the first "
                "value, or give another --out"
            )
