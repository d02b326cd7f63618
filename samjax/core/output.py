"""Folders of results: looked at before the work is done, and complete or not there at all."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from samjax.core.errors import MachineError, UserError
from samjax.core.files import move_whole
from samjax.core.workdir import is_bucket

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_IN_WORDS = tuple(os.strerror(number) for number in _FULL)
"""Libraries that are no Python make errors of every type, with the system's words in them."""


@contextlib.contextmanager
def tell_write_errors(path: str | Path, *, option: str = "--out") -> Iterator[None]:
    """Tell what goes wrong on disk within in a sentence.

    `path` is what is being written, `option` what the user gave it by.

    Raises:
      UserError: in place of an OSError, or of a library's error that the disk is full.
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
    """Return the system's words where an error, or one that it came after, is that of a full disk."""
    while error is not None:
        for words in _FULL_IN_WORDS:
            if words in str(error):
                return words
        error = error.__cause__ or error.__context__
    return None


def check_can_write(folder: str | Path, *, option: str = "--out") -> None:
    """Find out whether a folder can be made, or written to where it is there; makes nothing. Call it before the work.

    Raises:
      UserError: it cannot: a file is in its place or above it, permission is missing, the disk is read-only.
    """
    if is_bucket(folder):
        return
    nearest = _nearest(folder)
    if not nearest.is_dir():
        raise UserError(f"{option} {folder}: {nearest} is a file, expected a folder: give another {option}")
    with tell_write_errors(folder, option=option), tempfile.TemporaryFile(dir=nearest):
        pass


def check_room(folder: str | Path, size: int, *, option: str = "--out") -> None:
    """Find out whether there is room for `size` bytes where a folder is or will be.

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
    """Return the folder, or what is there of the path to it."""
    nearest = Path(folder).absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    return nearest


@contextlib.contextmanager
def whole_folder(folder: Path, *, option: str = "--out") -> Iterator[Path]:
    """Yield an empty folder that becomes `folder` at the end; after an error or Ctrl-C nothing is left of it.

    Raises:
      UserError: it cannot be written, see `writing`.
    """
    with tell_write_errors(folder, option=option):
        folder.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        try:
            partial = holder / folder.name
            partial.mkdir()
            yield partial
            for path in partial.rglob("*"):  # safetensors' are their owner's alone
                path.chmod((0o777 if path.is_dir() else 0o666) & ~_umask())
            move_whole(partial, folder)
        finally:
            shutil.rmtree(holder, ignore_errors=True)


def _umask() -> int:
    """Return the mode bits that new files lack."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
