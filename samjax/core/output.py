"""Folders of results: looked at before the work is done, and complete or not there at all."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from samjax.core.errors import UserError
from samjax.core.workdir import is_bucket

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def writing(path: str | Path, *, option: str = "--out") -> Iterator[None]:
    """Tell an OSError within in a sentence; `path` is what was being written, `option` what the user gave it by.

    Raises:
      UserError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        way = f"free some room, or give another {option}" if error.errno in _FULL else f"give another {option}"
        raise UserError(f"{path} cannot be written ({error.strerror or error}): {way}") from error


def check_can_write(folder: str | Path, *, option: str = "--out") -> None:
    """Find out whether a folder can be made, or written to where it is there; makes nothing. Call it before the work.

    Raises:
      UserError: it cannot: a file is in its place or above it, permission is missing, the disk is read-only.
    """
    if is_bucket(folder):
        return
    nearest = Path(folder).absolute()
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UserError(f"{option} {folder}: {nearest} is a file, expected a folder: give another {option}")
    with writing(folder, option=option), tempfile.TemporaryFile(dir=nearest):
        pass


@contextlib.contextmanager
def whole_folder(folder: Path, *, option: str = "--out") -> Iterator[Path]:
    """Yield an empty folder that becomes `folder` at the end; after an error or Ctrl-C nothing is left of it.

    Raises:
      UserError: it cannot be written, see `writing`.
    """
    with writing(folder, option=option):
        folder.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        try:
            partial = holder / folder.name
            partial.mkdir()
            yield partial
            for path in partial.rglob("*"):  # safetensors' are their owner's alone
                path.chmod((0o777 if path.is_dir() else 0o666) & ~_umask())
            partial.rename(folder)
        finally:
            shutil.rmtree(holder, ignore_errors=True)


def _umask() -> int:
    """Return the mode bits that new files lack."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
