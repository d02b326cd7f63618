"""Git LFS pointers: the small files that stand in for large ones until these are downloaded."""

from pathlib import Path

from samjax.core.errors import UserError

_BEGIN = b"version https://git-lfs.github.com/spec/"
_MOST = 1024
"""Bytes: the specification allows no larger pointer."""


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


POINTER = "is a Git LFS pointer, not the file itself: get it with `git lfs pull`, or download the file again"
