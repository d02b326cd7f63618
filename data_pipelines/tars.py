"""Reads tars in the layout of the SA-1B release: members `sa_<id>.jpg` and `sa_<id>.json`.

Tars are untrusted: nothing is extracted to disk, only plain members of a strict name and bounded size are read.
"""

import dataclasses
import glob
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

from samjax.core.errors import UserError

MAX_MEMBER_BYTES = 64 * 2**20
_MEMBER = re.compile(r"(?:\./|[A-Za-z0-9_-]+/)?sa_(\d{1,12})\.(jpg|json)")


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


def find_tars(source: str) -> list[Path]:
    """Return the tars `source` names: a folder that holds *.tar, a glob, or one tar; sorted.

    Raises:
      UserError: there is none.
    """
    path = Path(source)
    if path.is_dir():
        tars = sorted(path.glob("*.tar"))
    elif path.is_file():
        tars = [path]
    else:
        tars = sorted(Path(name) for name in glob.glob(source) if Path(name).is_file())
    if not tars:
        raise UserError(
            f"{source} holds no tars: give a folder with *.tar in it, a quoted pattern such as 'folder/sa_0000*.tar', "
            "or one tar in the SA-1B layout"
        )
    return tars


def read_tar(path: Path) -> Iterator[Pair | Drop | Stray]:
    """Yield the pairs of one tar in the tar's order.

    What has no partner, comes twice or is too large is yielded as a Drop, members of other names or kinds as a Stray.

    Raises:
      UserError: not a tar, or cut short: what is missing cannot be counted.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            yield from _read_members(path, archive)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read as an uncompressed tar ({error}): fetch it again") from error


def _read_members(path: Path, archive: tarfile.TarFile) -> Iterator[Pair | Drop | Stray]:
    pairs: dict[str, dict[str, tarfile.TarInfo]] = {}
    for member in archive:
        name = _MEMBER.fullmatch(member.name)
        if member.isdir():
            continue
        if name is None or not member.isreg() or member.issparse():
            yield Stray(where=f"{path.name}: {member.name[:80]!r}")
        elif name[2] in pairs.setdefault(name[1], {}):
            yield Drop(where=f"{path.name}: sa_{name[1]}", kind="duplicate", detail=f"{name[2]} is in the tar twice")
        else:
            pairs[name[1]][name[2]] = member
    _check_end(path, archive)
    for number, members in pairs.items():
        where = f"{path.name}: sa_{number}"
        if len(members) < 2:
            kind = "no JSON" if "jpg" in members else "no JPEG"
            yield Drop(where=where, kind=kind, detail="every photo needs sa_<id>.jpg and sa_<id>.json in one tar")
        elif size := max((member.size for member in members.values() if member.size > MAX_MEMBER_BYTES), default=0):
            yield Drop(where=where, kind="too large", detail=f"{size:,} bytes, more than {MAX_MEMBER_BYTES:,}")
        else:
            yield Pair(where=where, jpeg=_read(archive, members["jpg"]), text=_read(archive, members["json"]))


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    if len(content) != member.size:
        raise tarfile.ReadError(f"{member.name} is cut short")
    return content


def _check_end(path: Path, archive: tarfile.TarFile) -> None:
    """Raise unless the members end with the zero block of a whole tar: tarfile takes a damaged header for the end."""
    with path.open("rb") as file:
        file.seek(archive.offset)
        block = file.read(tarfile.BLOCKSIZE)
    if block != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"damaged or cut short at byte {archive.offset:,}")
