"""The files of a data set's folder."""

import os
from pathlib import Path

from samjax.core.errors import UserError

_OF_MACOS = "__MACOSX"
"""The folder of resource forks in a zip that macOS made."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of that name is a system's own, such as `._a.png` and `.DS_Store`: never data."""
    return name.startswith(".") or name == _OF_MACOS


def files_under(folder: Path) -> list[Path]:
    """Return the path of every file under `folder`, sorted, excluding hidden ones.

    Links to folders are followed, unless they lead to a folder that is listed without them. A link that leads nowhere
    is returned as a file: whoever opens it reports it.

    Raises:
      UserError: a folder cannot be listed.
    """
    found: list[Path] = []
    listed: set[tuple[int, int]] = set()
    own: list[Path] = [folder]
    linked: list[tuple[Path, frozenset[tuple[int, int]]]] = []
    while own or linked:  # the folder's own subfolders first
        place, above = (own.pop(), None) if own else linked.pop(0)
        try:
            status = os.stat(place)
            identity = (status.st_dev, status.st_ino)
            if above is None:
                listed.add(identity)
            elif identity in listed or identity in above:
                continue
            with os.scandir(place) as entries:
                for entry in entries:
                    path = place / entry.name
                    if is_hidden(entry.name):
                        continue
                    if not _is_folder(entry):
                        found.append(path)
                    elif above is None and not entry.is_symlink():
                        own.append(path)
                    else:
                        linked.append((path, (above or frozenset()) | {identity}))
        except OSError as error:
            raise _unlisted(place, error) from error
    return sorted(found)


def files_in(folder: Path) -> list[Path]:
    """Return the path of every file in `folder` itself, sorted, excluding hidden ones.

    Raises:
      UserError: the folder cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if not is_hidden(path.name) and not path.is_dir())
    except OSError as error:
        raise _unlisted(folder, error) from error


def _unlisted(folder: Path, error: OSError) -> UserError:
    return UserError(f"{folder} cannot be listed ({error.strerror or error}): allow this user to read it")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
