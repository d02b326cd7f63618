"""`annotate.json`: what an annotation folder was started with, and the id of each of its photos."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.core.files import is_bucket, write_whole
from samjax.core.folder import check_request, read_request

ABOUT = "annotate.json"
INSIDE = "annotate"
"""The folder in it that holds events and proposals."""
_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class FolderAbout:
    """The content of `annotate.json`."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """What all masks in the folder have in common, as JSON."""
    photos: Mapping[str, int] = field(default_factory=dict)
    """Ids by `photo_key`."""

    def write(self, folder: Path) -> None:
        """Write it.

        Raises:
          UserError: it cannot be written.
        """
        content = {"version": _VERSION, "settings": dict(self.settings), "photos": dict(self.photos)}
        write_whole(folder / ABOUT, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def check(self, settings: Mapping[str, Any], *, folder: Path) -> None:
        """Refuse other settings than the folder was started with.

        Raises:
          UserError: the first that differs, by name.
        """
        check_request(self.settings, json.loads(json.dumps(settings)), sentence=f"{folder} holds masks made")


def local_folder(out: str | Path) -> Path:
    """Return the path of an annotation folder.

    Raises:
      UserError: it is in a bucket, which cannot be appended to or locked.
    """
    if is_bucket(out):
        raise UserError(f"--out {out} is in a bucket: annotate to a folder on a disk, and copy that")
    return Path(out)


def read_about(folder: Path) -> FolderAbout | None:
    """Return what an annotation folder was started with, None if there is no such folder yet or it is empty.

    Raises:
      UserError: it is a file or holds something else, or its `annotate.json` is damaged or of a newer version.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {folder} is a file: give a folder")
    about = folder / ABOUT
    if not about.exists():
        others = sorted(entry.name for entry in folder.iterdir() if entry.name[0] != ".") if folder.exists() else []
        if others:
            raise UserError(f"{folder} holds {others[0]}, which samjax annotate did not write: give another --out")
        return None
    content = read_request(about, fields={"version": int, "settings": dict, "photos": dict})
    if content["version"] != _VERSION:
        raise UserError(
            f"{about} has version {content['version']}, this samjax reads version {_VERSION}: install the samjax that "
            "wrote it"
        )
    photos = content["photos"]
    if not all(type(number) is int and number >= 0 for number in photos.values()) or len(set(photos.values())) != len(
        photos
    ):
        raise UserError(f"{about} is damaged: it gives photos ids that are no integers, or one id to two; restore it")
    return FolderAbout(settings=content["settings"], photos=photos)
