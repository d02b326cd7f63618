"""Reads tars: pairs `sa_<id>.jpg` and `sa_<id>.json` in the layout of the SA-1B release, or photos of any kind alone.

Members lie in any folder, a photo and its JSON in one or in two. Tars are untrusted: nothing is extracted to disk, only
plain members of a strict name and bounded size are read. A tar is read once, front to back, as disks and object stores
like it.
"""

import tarfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple, TypeVar

from data_pipelines.pairs import (
    LIMITS,
    MAX_PHOTO_BYTES,
    Drop,
    Pair,
    PhotoFile,
    SourceError,
    Stray,
    match_apart,
    parse_member,
    photo_too_large,
    split_member,
    too_large,
    without_partner,
)
from samjax.core.machine_faults import machine_fault

T = TypeVar("T")

HELD_BYTES = 256 * 2**20
"""Most bytes kept in memory while waiting for partner files; beyond it, members are read again later."""
_MAX_WAITING = 2**20
_JPEG_END = b"\xff\xd9"
_NO_ZEROS_LAST = (".json", ".jpg", ".jpeg", ".png")

_MARK_BYTES = 2 * tarfile.BLOCKSIZE
_RECORD_BYTES = 20 * tarfile.BLOCKSIZE
"""What tars are filled up to, by default everywhere."""
_LARGER_RECORDS = tuple(2**power for power in range(14, 21))
"""What they are filled up to with `tar --blocking-factor`, 16 KiB to 1 MiB: then the whole is a multiple of it."""


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
    """A member waiting for its partner; `content` is None if it must be read again."""

    where: str
    number: str
    suffix: str
    member: tarfile.TarInfo
    content: bytes | None


def read_tar(file: BinaryIO, *, name: str) -> Iterator[Pair | Drop | Stray]:
    """Yield the pairs of one tar, each when its second file is reached; those in two folders come last.

    What has no partner, comes twice or is too large is yielded as a Drop, members of other names or kinds as a Stray.

    Raises:
      SourceError: not a tar, damaged, cut short, or without any photo or JSON.
    """
    yield from _read_whole(
        file, lambda archive, seen: _read_pairs(archive, seen, name=name), expected="a sa_<id>.jpg or sa_<id>.json"
    )


def read_photo_tar(
    file: BinaryIO, *, name: str, is_photo: Callable[[str], bool], expected: str
) -> Iterator[PhotoFile | Drop | Stray]:
    """Yield the photos of one tar in its order.

    What comes twice or is too large is yielded as a Drop, members of other names or kinds as a Stray.

    Args:
      file: the tar.
      name: what messages call it.
      is_photo: whether a base name is a photo's.
      expected: for messages: what a photo is.

    Raises:
      SourceError: not a tar, damaged, cut short, or without any photo.
    """
    yield from _read_whole(
        file, lambda archive, seen: _read_photos(archive, seen, name=name, is_photo=is_photo), expected=expected
    )


class PhotoMember(NamedTuple):
    """Where in a tar a photo lies."""

    path: str
    start: int
    size: int


def list_photo_tar(
    file: BinaryIO, *, name: str, is_photo: Callable[[str], bool], expected: str
) -> Iterator[PhotoMember | Drop | Stray]:
    """Yield where the photos of one tar are, in its order, without reading them; otherwise as `read_photo_tar`."""

    def places(archive: tarfile.TarFile, seen: _Seen) -> Iterator[PhotoMember | Drop | Stray]:
        for item in _find_photos(archive, seen, name=name, is_photo=is_photo):
            if isinstance(item, _FoundPhoto):
                yield PhotoMember(item.path, item.member.offset_data, item.member.size)
            else:
                yield item

    yield from _read_whole(file, places, expected=expected)


def _read_whole(
    file: BinaryIO, read: Callable[[tarfile.TarFile, "_Seen"], Iterator[T]], *, expected: str
) -> Iterator[T]:
    try:
        bounded: Any = _Bounded(file)
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            seen = _Seen()
            yield from read(archive, seen)
            _check_end(file, archive, seen, expected=expected)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        if fault := machine_fault(error):
            raise SourceError(f"cannot be read ({fault})") from error
        raise SourceError(f"cannot be read as an uncompressed tar ({error})") from error


class _Seen:
    """What a tar held so far."""

    members = 0
    first = ""
    """Name of the first member."""
    last: tarfile.TarInfo | None = None
    """The last that is read."""


def _members(archive: tarfile.TarFile, seen: _Seen) -> Iterator[tarfile.TarInfo]:
    """Yield every member that is no folder, in order."""
    kept: list[Any] = vars(archive)["members"]  # a kilobyte of each member, for calls that are not made here
    while (member := archive.next()) is not None:
        kept.clear()
        if member.isdir():
            continue
        seen.members += 1
        seen.first = seen.first or member.name
        yield member


class _FoundPhoto(NamedTuple):
    """A photo of a tar; `where` is for messages."""

    where: str
    path: str
    member: tarfile.TarInfo


def _read_photos(
    archive: tarfile.TarFile, seen: _Seen, *, name: str, is_photo: Callable[[str], bool]
) -> Iterator[PhotoFile | Drop | Stray]:
    for item in _find_photos(archive, seen, name=name, is_photo=is_photo):
        if isinstance(item, _FoundPhoto):
            yield PhotoFile(where=item.where, name=item.path, content=_read(archive, item.member))
        else:
            yield item


def _find_photos(
    archive: tarfile.TarFile, seen: _Seen, *, name: str, is_photo: Callable[[str], bool]
) -> Iterator[_FoundPhoto | Drop | Stray]:
    done: set[str] = set()
    for member in _members(archive, seen):
        place = split_member(member.name)
        if place is None or not is_photo(place[1]) or not member.isreg() or member.issparse():
            yield Stray(where=f"{name}: {member.name[:80]!r}")
            continue
        seen.last = member
        path = f"{place[0]}/{place[1]}" if place[0] else place[1]
        where = f"{name}: {path if path.isprintable() else ascii(path)[1:-1]:.200}"
        if path in done:
            yield Drop(where=where, kind="duplicate", detail="it is in the tar twice")
        elif member.size > MAX_PHOTO_BYTES:
            yield photo_too_large(where, size=member.size)
        else:
            done.add(path)
            yield _FoundPhoto(where, path, member)


def _read_pairs(archive: tarfile.TarFile, seen: _Seen, *, name: str) -> Iterator[Pair | Drop | Stray]:
    waiting: dict[tuple[str, str], _Waiting] = {}
    done: set[tuple[str, str]] = set()
    held = 0
    for member in _members(archive, seen):
        parsed = parse_member(member.name)
        if parsed is None or not member.isreg() or member.issparse():
            yield Stray(where=f"{name}: {member.name[:80]!r}")
            continue
        seen.last = member
        folder, number, suffix = parsed
        key = (folder, number)
        first = waiting.get(key)
        where = f"{name}: {_shown(folder)}sa_{number}"
        if key in done or (first and first.suffix == suffix):
            yield Drop(where=where, kind="duplicate", detail=f"{suffix} is in the tar twice")
        elif first is None:
            keep = member.size <= LIMITS[suffix] and held + member.size <= HELD_BYTES
            content = _read(archive, member) if keep else None
            held += len(content or b"")
            waiting[key] = _Waiting(where, number, suffix, member, content)
            if len(waiting) > _MAX_WAITING:
                raise tarfile.ReadError(f"more than {_MAX_WAITING:,} files without their partner")
        else:
            del waiting[key]
            done.add(key)
            held -= len(first.content or b"")
            yield _pair(archive, first, _Waiting(where, number, suffix, member, None))
    end = archive.offset  # reading again moves it
    matched, left = match_apart(waiting.values(), key=lambda lone: (lone.number, lone.suffix))
    for photo, described in matched:
        yield _pair(archive, photo, described)
    for lone in left:
        yield without_partner(lone.where, suffix=lone.suffix)
    archive.offset = end


def _shown(folder: str) -> str:
    """Return how messages begin the name of a file in `folder`."""
    return f"{folder if folder.isprintable() else ascii(folder)[1:-1]:.80}/" if folder else ""


def _pair(archive: tarfile.TarFile, first: _Waiting, second: _Waiting) -> Pair | Drop:
    for part in (first, second):
        if part.member.size > LIMITS[part.suffix]:
            return too_large(first.where, suffix=part.suffix, size=part.member.size)
    content = {
        part.suffix: _read(archive, part.member) if part.content is None else part.content for part in (first, second)
    }
    return Pair(where=first.where, jpeg=content["jpg"], text=content["json"])


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    content = b"" if file is None else file.read()
    if len(content) != member.size:
        raise tarfile.ReadError(f"{member.name} is cut short")
    return content


def _check_end(file: BinaryIO, archive: tarfile.TarFile, seen: _Seen, *, expected: str) -> None:
    """Raise unless a whole tar ends where reading stopped, and something to read was in it.

    tarfile takes a damaged header for the end, and stops at the first end that it sees. A download for which room was
    allocated in advance and that stopped goes on in zeros, as an end does.
    """
    end = archive.offset
    file.seek(end)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError(f"damaged or cut short at byte {end:,}")
    while block := file.read(2**20):
        if block.count(0) != len(block):
            raise tarfile.ReadError(
                f"more follows its end at byte {end:,}: several tars in one file, or a part that was never downloaded?"
            )
    total = file.tell()
    if total - end > _longest_end(total) or (seen.last and _ends_in_zeros(archive, seen.last)):
        raise tarfile.ReadError(
            f"cut short at byte {end:,}: zeros follow, {total - end:,} bytes of them, as where room was allocated for "
            "a download that stopped"
        )
    if not seen.members:
        raise SourceError("holds no usable photo: it is an empty tar")
    if seen.last is None:
        raise SourceError(
            f"holds no usable photo: none of its {seen.members:,} members is {expected}, the first is "
            f"{seen.first[:80]!r}"
        )


def _longest_end(total: int) -> int:
    """Return how many bytes of zeros a tar of `total` bytes may end in: its mark, and the rest of a record."""
    return _MARK_BYTES + max([_RECORD_BYTES, *(size for size in _LARGER_RECORDS if total % size == 0)])


def _ends_in_zeros(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bool:
    """Return whether a photo or JSON was cut within: no JSON holds a zero byte, and no photo ends in them unended.

    Photos of other kinds than these may end in zeros.
    """
    if member.size > max(LIMITS.values()) or not member.name.lower().endswith(_NO_ZEROS_LAST):
        return False
    content = _read(archive, member)
    kept = content.rstrip(b"\0")
    return len(kept) < len(content) and not kept.endswith(_JPEG_END)
