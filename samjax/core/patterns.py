"""Paths as people give them: names and quoted patterns."""

import glob
import os
from pathlib import Path


def expand_pattern(pattern: str) -> list[Path]:
    """Return the files that a path or a quoted pattern such as `photos/**/*.jpg` matches, sorted.

    Existing paths come before patterns: `photo[1].png` names that file, and `run [a]/*.jpg` the files in that folder.
    """
    path = Path(pattern).expanduser()
    if os.path.lexists(path):
        return [path]
    folder = next(above for above in path.parents if os.path.lexists(above) or above == above.parent)
    rest = str(path.relative_to(folder))
    return sorted(folder / found for found in glob.glob(rest, root_dir=folder, recursive=True))
