"""Atomic writes: a file appears whole or not at all."""

import contextlib
import errno
import io
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from etils import epath
from jaxtyping import Bool, UInt8
from PIL import Image

from samjax.core.errors import MachineError, UserError
from samjax.core.text import printable

log = logging.getLogger(__name__)

_NO_SYNC = {
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.EBADF,
    errno.EACCES,
    errno.EPERM,
    errno.EISDIR,
}
"""Errors for unsupported operations on CIFS, FUSE, shared folders of virtual machines and the like."""
_told: set[int] = set()
"""File systems without sync that were already reported."""


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_IN_WORDS = tuple(os.strerror(number) for number in _FULL)
"""Native libraries raise errors of every type that carry the system's message."""


def is_bucket(path: epath.PathLike) -> bool:
    """Return whether `path` is a URL such as gs://, not a path in the file system."""
    return "://" in str(path)


def write_whole(path: epath.PathLike, content: str | bytes) -> None:
    """Write a file atomically: a reader finds the previous content or all of `content`.

    This holds after a kill or a power cut too: the content is on disk before the rename, and the rename before this
    returns. Objects in buckets are atomic anyway.

    Text is written as UTF-8, see `printable`.

    Raises:
      UserError: it cannot be written.
    """
    data = printable(content).encode() if isinstance(content, str) else content
    if is_bucket(path):
        epath.Path(path).write_bytes(data)
        return
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(data)
        move_whole(partial, target)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}): make room or allow it, or write to another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # a file in the place of a folder: reported above
            partial.unlink(missing_ok=True)


def write_png(path: Path, picture: UInt8[np.ndarray, "h w *colours"] | Bool[np.ndarray, "h w"]) -> None:
    """Write a picture, grey, RGB or a mask, as a PNG, see `write_whole`."""
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, format="PNG")
    write_whole(path, encoded.getvalue())


def move_whole(path: Path, target: Path) -> None:
    """Rename a file, or a folder and its contents, to `target` once everything is on disk.

    Raises:
      OSError: it cannot be synced or renamed.
    """
    sync_all(path)
    os.replace(path, target)
    sync(target.parent)


def sync_all(path: Path) -> None:
    """`sync` a file, or a folder and its contents."""
    for folder, _, names in os.walk(path):
        for name in names:
            sync(Path(folder, name))
        if folder != str(path):
            sync(Path(folder))
    sync(path)


def sync(path: Path) -> None:
    """Flush a file, or a folder's entries, to disk.

    Warns once if the file system has no sync.

    Raises:
      OSError: the disk is full or fails.
    """
    is_folder = path.is_dir()
    with _refusals_told(path if is_folder else path.parent):
        handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)  # CIFS does not sync a file opened for reading
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def sync_open(file: IO[bytes], *, folder: Path) -> None:
    """Flush what was written to `file`, open in `folder`, to disk; see `sync`."""
    file.flush()
    with _refusals_told(folder):
        os.fsync(file.fileno())


@contextlib.contextmanager
def _refusals_told(folder: Path) -> Iterator[None]:
    """Continue if a file system has no sync: that is one safeguard less, not a failed write."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
        if (device := os.stat(folder).st_dev) not in _told:
            _told.add(device)
            log.info(
                "%s cannot be synced (%s): a power cut may lose the last writes",
                printable(str(folder)),
                error.strerror,
            )


@contextlib.contextmanager
def tell_write_errors(path: str | Path, *, option: str = "--out") -> Iterator[None]:
    """Turn disk errors in this context into one sentence.

    `path` is what is being written, `option` the flag by which the user gave it.

    Raises:
      UserError: in place of an OSError, or of a library's error about a full disk.
    """
    try:
        yield
    except (UserError, MachineError):
        raise
    except Exception as error:
        full = _full(error)
        if full is None and not isinstance(error, OSError):
            raise
        what = full or (error.strerror if isinstance(error, OSError) else None) or error
        way = f"free some room, or give another {option}" if full or what is error else f"give another {option}"
        raise UserError(f"{path} cannot be written ({what}): {way}") from error


def _full(error: BaseException | None) -> str | None:
    """Return the system's message if an error, or one in its chain, is about a full disk."""
    while error is not None:
        for words in _FULL_IN_WORDS:
            if words in str(error):
                return words
        error = error.__cause__ or error.__context__
    return None
