"""Lists a folder and its subfolders."""

import logging
import os
from collections.abc import Iterator

from fsspec import AbstractFileSystem

from data_pipelines.storage import Entry, entries, is_local
from samjax.core.text import printable

log = logging.getLogger(__name__)


def walk(files: AbstractFileSystem, folder: str, *, levels: int | None = None) -> Iterator[tuple[str, Entry]]:
    """Yield the folder and the entry of whatever is no folder in `folder` or below it, by name; tars count as files.

    Links are followed, and every folder is read once: a link that leads back up ends there. Hidden folders are not
    read; hidden files are yielded.

    Args:
      files: the file system that `folder` is on.
      folder: where to begin.
      levels: how far down to go; folders further down are told in the log. None goes all the way.

    Raises:
      OSError: a folder cannot be listed.
    """
    yield from _walk(files, folder, set(), level=0, levels=levels)


def _walk(
    files: AbstractFileSystem, folder: str, seen: set[str], *, level: int, levels: int | None
) -> Iterator[tuple[str, Entry]]:
    real = os.path.realpath(folder) if is_local(files) else folder
    if real in seen:
        return
    seen.add(real)
    if levels is not None and level > levels:
        log.warning(
            "%s is more than %d folders down, and is not read: name it as a --source", printable(folder), levels
        )
        return
    for found in entries(files, folder):
        if not found.is_folder or found.name.endswith(".tar"):
            yield folder, found
        elif not found.name.startswith("."):
            yield from _walk(files, f"{folder}/{found.name}", seen, level=level + 1, levels=levels)
