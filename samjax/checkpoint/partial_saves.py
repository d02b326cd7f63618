"""Unfinished saves that killed processes leave behind: folders as large as a checkpoint."""

import shutil
from pathlib import Path

from etils import epath

_MARK = ".orbax-checkpoint-tmp"  # in the name of a folder until it is whole, when Orbax renames it


def partial_saves(directory: epath.PathLike) -> list[epath.Path]:
    """Return the folders of unfinished saves under `directory`."""
    folder = epath.Path(directory)
    return sorted(entry for entry in folder.iterdir() if _MARK in entry.name) if folder.exists() else []


def remove_partial_saves(directory: epath.PathLike) -> tuple[int, int]:
    """Delete the unfinished saves under `directory`, on a file system; return how many, and their bytes.

    Call it only when no other process can be saving there. What cannot be deleted stays and is not counted.
    """
    count = total = 0
    for folder in map(Path, partial_saves(directory)):
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            count, total = count + 1, total + size
    return count, total
