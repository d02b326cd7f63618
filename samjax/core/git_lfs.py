"""Pointers of Git LFS: what lies in a repository in place of large files until they are downloaded."""

from pathlib import Path

from samjax.core.errors import UserError

_BEGIN = b"version https://git-lfs.github.com/spec/"
_MOST = 1024
"""Bytes: a pointer is no larger, by its specification."""


def is_lfs_pointer(path: Path) -> bool:
    """Return whether a file is a pointer."""
    with path.open("rb") as file:
        return file.read(len(_BEGIN)) == _BEGIN and len(file.read(_MOST)) < _MOST


def refuse_lfs_pointer(path: Path) -> None:
    """Refuse a file that is a pointer.

    Raises:
      UserError: it is.
    """
    if is_lfs_pointer(path):
        raise UserError(f"{path} {POINTER}")


POINTER = "is a pointer of Git LFS, not the file itself: get it with `git lfs pull`, or download the file again"
