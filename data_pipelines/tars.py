"""Reads tars in the layout of the SA-1B release: members `sa_<id>.jpg` and `sa_<id>.json`.

Tars are untrusted: nothing is extracted to disk, only plain members of a strict name and bounded size are read. A tar
is read once, front to back, as disks and object stores like it.
"""

import re
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from data_pipelines.pairs import LIMITS, Drop, Pair, SourceError, Stray, parse_name, too_large, without_partner

HELD_BYTES = 256 * 2**20
"""How much is kept in memory while the partners are still to come; what is beyond is read again."""
_MAX_WAITING = 2**20
_FOLDER = re.compile(r"(?:\./)?(?:[A-Za-z0-9_-]+/)?(?=sa_)")


class _Bounded:
    """A file that refuses to read more at once than a member may hold: a header can claim any length for itself."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= max(LIMITS.values()) + tarfile.BLOCKSIZE:
            raise tarfile.ReadError(f"a header asks for {size:,} bytes")
        return self._file.read(size)


class _Waiting(NamedTuple):
    """A member whose partner has not come yet; `content` is None where it must be read again."""

    suffix: str
    member: tarfile.TarInfo
    content: bytes | None


def read_tar(file: BinaryIO, *, name: str) -> Iterator[Pair | Drop | Stray]:
    """Yield the pairs of one tar, each when its second file is reached.

    What has no partner, comes twice or is too large is yielded as a Drop, members of other names or kinds as a Stray.

    Raises:
      SourceError: not a tar, damaged, or cut short.
    """
    try:
        bounded: Any = _Bounded(file)
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            yield from _read_members(archive, name=name)
            _check_end(file, archive.offset)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise SourceError(f"cannot be read as an uncompressed tar ({error})") from error


def _read_members(archive: tarfile.TarFile, *, name: str) -> Iterator[Pair | Drop | Stray]:
    waiting: dict[str, _Waiting] = {}
    done: set[str] = set()
    held = 0
    kept: list[Any] = vars(archive)["members"]  # a kilobyte of each member, for calls that are not made here
    while (member := archive.next()) is not None:
        kept.clear()
        if member.isdir():
            continue
        parsed = parse_name(_FOLDER.sub("", member.name, count=1))
        if parsed is None or not member.isreg() or member.issparse():
            yield Stray(where=f"{name}: {member.name[:80]!r}")
            continue
        number, suffix = parsed
        first = waiting.get(number)
        where = f"{name}: sa_{number}"
        if number in done or (first and first.suffix == suffix):
            yield Drop(where=where, kind="duplicate", detail=f"{suffix} is in the tar twice")
        elif first is None:
            keep = member.size <= LIMITS[suffix] and held + member.size <= HELD_BYTES
            content = _read(archive, member) if keep else None
            held += len(content or b"")
            waiting[number] = _Waiting(suffix, member, content)
            if len(waiting) > _MAX_WAITING:
                raise tarfile.ReadError(f"more than {_MAX_WAITING:,} files without their partner")
        else:
            del waiting[number]
            done.add(number)
            held -= len(first.content or b"")
            yield _pair(archive, first, _Waiting(suffix, member, None), where=where)
    for number, first in waiting.items():
        yield without_partner(f"{name}: sa_{number}", suffix=first.suffix)


def _pair(archive: tarfile.TarFile, first: _Waiting, second: _Waiting, *, where: str) -> Pair | Drop:
    for part in (first, second):
        if part.member.size > LIMITS[part.suffix]:
            return too_large(where, suffix=part.suffix, size=part.member.size)
    content = {
        part.suffix: _read(archive, part.member) if part.content is None else part.content for part in (first, second)
    }
    return Pair(where=where, jpeg=content["jpg"], text=content["json"])


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    if len(content) != member.size:
        raise tarfile.ReadError(f"{member.name} is cut short")
    return content


def _check_end(file: BinaryIO, offset: int) -> None:
    """Raise unless a whole tar ends at `offset`: tarfile takes a damaged header for the end, and stops at the first."""
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"damaged or cut short at byte {offset:,}")
    while block := file.read(2**20):
        if block.count(0) != len(block):
            raise tarfile.ReadError(f"more follows its end at byte {offset:,}: several tars in one file?")
