"""What a source holds: photos with their descriptions, and what is no such pair."""

import dataclasses
import re

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
    """A tar or folder that cannot be read to its end: what is missing cannot be counted. The message says why."""


def parse_name(name: str) -> tuple[str, str] | None:
    """Return the number and the suffix of a member's base name `sa_<number>.jpg` or `.json`, else None."""
    found = _NAME.fullmatch(name)
    return (found[1], found[2]) if found else None


def without_partner(where: str, *, suffix: str) -> Drop:
    """Return the drop of a record of which only the file with `suffix` is there."""
    kind = "no JSON" if suffix == "jpg" else "no JPEG"
    return Drop(where=where, kind=kind, detail="every photo needs sa_<id>.jpg and sa_<id>.json beside it")


def too_large(where: str, *, suffix: str, size: int) -> Drop:
    """Return the drop of a record with a file above its limit."""
    detail = f"its {suffix} has {size:,} bytes, more than {LIMITS[suffix]:,}"
    return Drop(where=where, kind="too large", detail=detail)
