"""Local files and object stores, through fsspec: where sources are read and preparations written.

`gs://` needs the package gcsfs and `s3://` s3fs; a path without a scheme is local.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from samjax.core.errors import UserError
from samjax.core.files import move_whole


class Entry(NamedTuple):
    """A name in a folder; `stamp` changes when the content does, as far as the store tells."""

    name: str
    size: int
    stamp: str
    is_file: bool
    """A plain file, or a link to one: neither folder, device nor pipe."""
    is_folder: bool


def filesystem(path: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system that `path` is on and its path there, absolute.

    Raises:
      UserError: a scheme that fsspec does not know, or whose package is not installed.
    """
    try:
        return url_to_fs(os.path.expanduser(path))
    except (ImportError, ValueError) as error:
        raise UserError(f"{path} cannot be opened ({error}): install what its scheme needs, or copy it here") from error


def is_local(files: AbstractFileSystem) -> bool:
    """Return whether `files` is this machine's own file system."""
    return isinstance(files, LocalFileSystem)


def entries(files: AbstractFileSystem, folder: str) -> list[Entry]:
    """Return what `folder` holds, sorted by name."""
    if is_local(files):
        with os.scandir(folder) as found:
            return sorted(_local_entry(entry) for entry in found)
    return sorted(_entry(info) for info in files.ls(folder, detail=True) if info["name"].rstrip("/") != folder)


def entry(files: AbstractFileSystem, path: str) -> Entry:
    """Return the size and the stamp of the file at `path`, links followed.

    Raises:
      OSError: there is none.
    """
    if is_local(files):
        found = os.stat(path)
        kind = Path(path)
        stamp = str(found.st_mtime_ns)
        return Entry(os.path.basename(path), found.st_size, stamp, kind.is_file(), kind.is_dir())
    return _entry(files.info(path))


def _local_entry(found: os.DirEntry[str]) -> Entry:
    try:
        info = found.stat()
    except OSError:  # a link that leads nowhere
        info = found.stat(follow_symlinks=False)
    return Entry(
        name=found.name,
        size=info.st_size,
        stamp=str(info.st_mtime_ns),
        is_file=found.is_file(),
        is_folder=found.is_dir(),
    )


def _entry(info: dict[str, Any]) -> Entry:
    """Stores name the same thing differently: an ETag or a generation where there is one, else a time."""
    keys = ("ETag", "etag", "generation", "md5Hash", "mtime", "updated", "LastModified", "created")
    stamp = next((str(info[key]) for key in keys if info.get(key) is not None), "")
    name = info["name"].rstrip("/").rsplit("/", 1)[-1]
    return Entry(name, int(info.get("size") or 0), stamp, info["type"] == "file", info["type"] == "directory")


WORK = ".prepare"
"""The work folder inside a folder that is written to: what is unfinished lies there, and nowhere else."""
TEMPORARY = ".temporary"


class Folder:
    """A folder to write to. Every file appears complete under its name or not at all, even if the process is killed."""

    def __init__(self, path: str):
        self.path = path
        self._files, self._root = filesystem(path)
        self.local = is_local(self._files)

    def at(self, name: str) -> str:
        """Return the path of `name` on this folder's file system."""
        return f"{self._root.rstrip('/')}/{name}"

    def make(self, name: str = "") -> None:
        """Make the folder, or `name` in it, and those above it, where they are missing."""
        self._files.makedirs(self.at(name).rstrip("/"), exist_ok=True)

    def names(self, folder: str = "") -> list[str]:
        """Return the names in `folder`; none where it does not exist."""
        path = self.at(folder).rstrip("/")
        self._files.invalidate_cache()
        return [found.name for found in entries(self._files, path)] if self._files.isdir(path) else []

    def size(self, name: str) -> int | None:
        """Return the bytes of the file `name`, None where there is none."""
        self._files.invalidate_cache()
        return self._files.size(self.at(name)) if self._files.isfile(self.at(name)) else None

    def read(self, name: str) -> bytes:
        """Return the content of the file `name`."""
        content: Any = self._files.cat_file(self.at(name))
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write `content` as the file `name`."""
        with self.temporary(name) as path:
            path.write_bytes(content)

    @contextlib.contextmanager
    def temporary(self, name: str) -> Iterator[Path]:
        """Yield a local path to write to; on leaving without an error the file there becomes `name`."""
        if not self.local:
            with tempfile.TemporaryDirectory(prefix="samjax-") as folder:
                path = Path(folder) / "file"
                yield path
                self._files.makedirs(os.path.dirname(self.at(name)), exist_ok=True)
                self._files.put_file(str(path), self.at(name))  # object stores show a file when it is complete
            return
        target, work = Path(self.at(name)), Path(self.at(WORK))
        work.mkdir(parents=True, exist_ok=True)
        path = work / f"{target.name}.{os.getpid()}{TEMPORARY}"
        try:
            yield path
            move_whole(path, target)
        finally:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def local_copy(self, name: str) -> Iterator[Path]:
        """Yield a local path that holds the file `name`."""
        if self.local:
            yield Path(self.at(name))
            return
        with tempfile.TemporaryDirectory(prefix="samjax-") as folder:
            self._files.get_file(self.at(name), f"{folder}/file")
            yield Path(folder) / "file"

    def rename(self, name: str, new: str) -> None:
        """Give the file `name` the name `new`."""
        if self.local:
            move_whole(Path(self.at(name)), Path(self.at(new)))
        else:
            self._files.mv(self.at(name), self.at(new))

    def remove(self, name: str) -> None:
        """Remove the file `name`, if it is there."""
        if self.local:
            Path(self.at(name)).unlink(missing_ok=True)
        elif self._files.exists(self.at(name)):
            self._files.rm_file(self.at(name))

    def remove_folder(self, name: str = "") -> None:
        """Remove `name` with all in it."""
        path = self.at(name).rstrip("/")
        if self._files.isdir(path):
            self._files.rm(path, recursive=True)


def open_bytes(files: AbstractFileSystem, path: str) -> BinaryIO:
    """Open a file to read, mostly forwards."""
    if is_local(files):
        return open(path, "rb")
    file: Any = files.open(path, "rb", block_size=16 * 2**20)
    return file
