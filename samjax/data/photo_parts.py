"""Parts of a list of photos, for jobs that share its work without talking to each other."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.core.text import printable

ABOUT = "generate.json"
"""In a part's folder: what its masks are made with, which part it is, and of which list."""
REPORT = "generate_report.json"
"""In the folder of a part that has been worked through: how many photos it has, and which could not be read."""

_FOLDER = re.compile(r"part-(\d{5,})-of-(\d{5,})")
_GIVEN = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True, kw_only=True, order=True)
class Part:
    """A share of a list of photos."""

    number: int
    """From 1 to `total`."""
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    @property
    def folder(self) -> str:
        """The name of its folder."""
        return f"part-{self.number:05d}-of-{self.total:05d}"

    def has(self, key: str) -> bool:
        """Return whether a photo is in this part, by a hash of `key`, which tells it from all others.

        The same on every machine. Each photo is in one of `total` parts, and parts differ in size by chance alone.
        """
        digest = hashlib.sha256(printable(key).encode()).digest()
        return int.from_bytes(digest[:8]) % self.total == self.number - 1


def parse_part(text: str) -> Part:
    """Return the part that `I/N` names.

    Raises:
      UserError: it names none.
    """
    found = _GIVEN.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UserError(f"--part is {text}; give I/N, as in 3/16: I from 1 to N, the number of parts")
    return Part(number=int(found[1]), total=int(found[2]))


def part_folders(folder: Path) -> dict[Part, Path]:
    """Return the folders of parts that lie in `folder`, in their order.

    Raises:
      UserError: they are parts of different numbers of parts.
    """
    names = [entry.name for entry in folder.iterdir() if entry.is_dir()] if folder.is_dir() else []
    matches = [match for name in names if (match := _FOLDER.fullmatch(name))]
    found = [Part(number=int(match[1]), total=int(match[2])) for match in matches]
    if len(totals := sorted({part.total for part in found})) > 1:
        raise UserError(
            f"{folder} holds parts of {totals[0]:,} and of {totals[1]:,} parts, whose photos overlap: remove those "
            "that do not belong"
        )
    return {part: folder / part.folder for part in sorted(found)}


@dataclass(frozen=True, kw_only=True)
class ListDigest:
    """What tells a list of photos from others: parts of one list have the same."""

    photos: int
    sha256: str
    """Of the photos' keys, sorted."""
    first: str
    last: str

    @classmethod
    def of(cls, keys: Sequence[str]) -> "ListDigest":
        """Return the digest of a list, one photo or more, by `keys` in any order."""
        shown = sorted(printable(key) for key in keys)
        digest = hashlib.sha256()
        for key in shown:
            digest.update(key.encode() + b"\0")
        return cls(photos=len(shown), sha256=digest.hexdigest(), first=shown[0], last=shown[-1])

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "ListDigest":
        """Return the digest that `to_json` wrote.

        Raises:
          ValueError: it wrote no such thing.
        """
        try:
            return cls(**fields)
        except TypeError as error:
            raise ValueError(f"not a list of photos: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.photos:,} photos, {self.first} to {self.last}"


def check_same_list(before: ListDigest, now: ListDigest, *, folder: Path) -> None:
    """Refuse to work on a part of another list than `folder` was started with.

    Raises:
      UserError: the lists differ.
    """
    if before == now:
        return
    differ = "" if str(before) != str(now) else ", some of others between them"
    raise UserError(
        f"{folder} is a part of a list of {before}; --images lists {now}{differ}: parts belong together only if "
        "all have the same list, so give the first --images, or another --out"
    )
