"""Items of a source: photos with their descriptions, and files that form no such pair."""

import dataclasses
import re
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")

MAX_PHOTO_BYTES = 64 * 2**20
MAX_TEXT_BYTES = 16 * 2**20  # a JSON takes some twenty times its size as Python objects; SA-1B's are below 1 MB

_NAME = re.compile(r"sa_(\d{1,12})\.(jpg|json)")
LIMITS = {"jpg": MAX_PHOTO_BYTES, "json": MAX_TEXT_BYTES}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pair:
    """One photo with its description, both as read."""

    where: str
    """For messages: `sa_000000.tar: sa_12`."""
    jpeg: bytes
    text: bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotoFile:
    """One photo of any kind without a description, as read."""

    where: str
    """For messages: `train.tar: cats/1.png`."""
    name: str
    """Its path in the source."""
    content: bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stray:
    """A member that is no part of a record, and is ignored."""

    where: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drop:
    """A record that cannot be used: where it is, what kind of fault, what exactly."""

    where: str
    kind: str
    detail: str


class SourceError(Exception):
    """A tar or folder that cannot be read to its end, so that losses cannot be counted. The message says why."""


def parse_name(name: str) -> tuple[str, str] | None:
    """Return the number and the suffix of a member's base name `sa_<number>.jpg` or `.json`, else None."""
    found = _NAME.fullmatch(name)
    return (found[1], found[2]) if found else None


def parse_member(name: str) -> tuple[str, str, str] | None:
    """Return the folder, number and suffix of a tar's member `FOLDER/sa_<number>.jpg` or `.json`, else None.

    Any folder is taken that `split_member` takes.
    """
    place = split_member(name)
    parsed = parse_name(place[1]) if place else None
    return (place[0], *parsed) if place and parsed else None


def split_member(name: str) -> tuple[str, str] | None:
    """Return the folder and the base name of a tar's member, None where it is no data.

    That is what lies outside of where the tar would be extracted (absolute paths, `..`), and what lies in hidden
    folders, where a system leaves things (`.Trash`, `.ipynb_checkpoints`). Tars made on Windows have backslashes.
    """
    *folders, base = name.replace("\\", "/").split("/")
    is_absolute = bool(folders) and (folders[0] == "" or folders[0].endswith(":"))
    folders = [folder for folder in folders if folder not in ("", ".")]
    if is_absolute or any(folder.startswith(".") for folder in folders):
        return None
    return "/".join(folders), base


NO_JSON, NO_JPEG = "no JSON", "no JPEG"
NO_DEPTH = "no known depth"
SOUND = (NO_JSON, NO_DEPTH)
"""Kinds of drops that are no fault: photos of which nothing is known, however many there are."""


def without_partner(where: str, *, suffix: str) -> Drop:
    """Return the drop of a record of which only the file with `suffix` is there."""
    kind = NO_JSON if suffix == "jpg" else NO_JPEG
    return Drop(where=where, kind=kind, detail="every photo needs sa_<id>.jpg and sa_<id>.json beside it")


def match_apart(lone: Iterable[T], *, key: Callable[[T], tuple[str, str]]) -> tuple[list[tuple[T, T]], list[T]]:
    """Match photos and JSONs that lie in different folders, as `images/sa_1.jpg` and `annotations/sa_1.json` do.

    Args:
      lone: files without a partner in their own folder.
      key: the number and the suffix of one.

    Returns:
      The JPEG and the JSON of every number that one of each has, and no other file; and the files that are left.
    """
    by_number: dict[str, list[T]] = {}
    for file in lone:
        by_number.setdefault(key(file)[0], []).append(file)
    matched, left = [], []
    for files in by_number.values():
        files.sort(key=lambda file: key(file)[1])
        if [key(file)[1] for file in files] == ["jpg", "json"]:
            matched.append((files[0], files[1]))
        else:
            left += files
    return matched, left


def too_large(where: str, *, suffix: str, size: int) -> Drop:
    """Return the drop of a record with a file above its limit."""
    detail = f"its {suffix} has {size:,} bytes, more than {LIMITS[suffix]:,}"
    return Drop(where=where, kind="too large", detail=detail)


def photo_too_large(where: str, *, size: int) -> Drop:
    """Return the drop of a photo alone above the limit."""
    detail = f"it has {size:,} bytes, more than {MAX_PHOTO_BYTES:,}"
    return Drop(where=where, kind="too large", detail=detail)
