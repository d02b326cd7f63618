"""Paths as people give them: names and quoted patterns."""

import glob
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from samjax.core.errors import UserError


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


def match_photos(patterns: Sequence[str], *, out: Path) -> list[Path]:
    """Return the files that `--images` names, each once, sorted by path.

    Raises:
      UserError: a pattern that matches no file, or one in `out`, the folder to write.
    """
    found: set[Path] = set()
    for pattern in patterns:
        files = expand_pattern(pattern)
        photos = {path for path in files if path.is_file()}
        if not photos:
            what = "a folder" if files else "nothing"
            raise UserError(
                f"--images {pattern} matches {what}: give a quoted pattern of photos, such as 'photos/*.jpg'"
            )
        found |= photos
    inside = sorted(path for path in found if path.resolve().is_relative_to(out.resolve()))
    if inside:
        raise UserError(f"--images matches {inside[0]}, which is in --out: give another folder there")
    return sorted(found)


def files_beside(patterns: Sequence[str], photos: Collection[Path]) -> list[Path]:
    """Return the files in the folders of `photos` that no pattern matches, for example for a suffix in capitals.

    Where no pattern is given, only names of files, other files are none that the user may have meant.
    """
    found = set(photos)
    if not any(glob.has_magic(pattern) and Path(pattern) not in found for pattern in patterns):
        return []
    return sorted(
        path
        for folder in {path.parent for path in found}
        for path in folder.iterdir()
        if path not in found and path.is_file() and not path.name.startswith(".")
    )
