"""What `--source` names, cut into units: a tar, or up to 4,096 pairs of a folder. A unit becomes one shard."""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator, Sequence

from fsspec import AbstractFileSystem

from data_pipelines.pairs import Drop, Pair, SourceError, Stray, parse_name
from data_pipelines.photo_folders import read_folder
from data_pipelines.storage import Entry, entries, entry, filesystem, is_local, open_bytes
from data_pipelines.tars import read_tar
from samjax.core.errors import UserError

PAIRS_A_SHARD = 4_096


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
    """A tar, or some pairs of a folder."""

    path: str
    """The tar or the folder."""
    fingerprint: str
    """Changes when a file of the unit does: its size, or its time or tag."""
    size: int
    """Bytes."""
    numbers: tuple[tuple[str, tuple[str, ...]], ...] | None = None
    """Of a folder: the pairs' numbers and the suffixes that are there. None is a tar."""
    strays: int = 0
    """Other files of the folder, counted at its first unit."""

    @property
    def name(self) -> str:
        """For messages: the last part of the path."""
        last = self.path.rstrip("/").rsplit("/", 1)[-1]
        return last if self.numbers is None else f"{last}/"

    @property
    def key(self) -> str:
        """A file name that stands for this unit as it is now."""
        first = "" if not self.numbers else f"#{self.numbers[0][0]}"
        return hashlib.sha256(f"{self.path}{first}\0{self.fingerprint}".encode()).hexdigest()[:24]

    def read(self) -> Iterator[Pair | Drop | Stray]:
        """Yield what the unit holds.

        Raises:
          SourceError: it cannot be read to its end, or changed since it was listed.
        """
        files, path = filesystem(self.path)
        if self.numbers is not None:
            yield from read_folder(files, path, name=self.name, numbers=self.numbers)
            return
        try:
            with open_bytes(files, path) as file:
                yield from read_tar(file, name=self.name)
            now = entry(files, path)
        except OSError as error:
            raise SourceError(f"cannot be read ({error.strerror or error})") from error
        if _fingerprint([now]) != self.fingerprint:
            raise SourceError("changed while it was read")


def find_units(sources: str | Sequence[str]) -> list[Unit]:
    """Return the units of `sources` in the order of their paths, each once.

    A source is a tar, a glob of tars or folders, or a folder that holds tars, pairs, or folders of those.

    Raises:
      UserError: a source that holds neither.
    """
    units: dict[str, list[Unit]] = {}
    for source in [sources] if isinstance(sources, str) else sources:
        files, path = filesystem(source)
        try:
            found = list(_find(files, path.rstrip("/") or path))
        except OSError as error:
            raise UserError(f"{source} cannot be listed ({error.strerror or error}): correct it") from error
        if not found:
            raise UserError(
                f"{source} holds no tars: give a folder with *.tar or with pairs sa_<id>.jpg and sa_<id>.json in it, "
                "a quoted pattern such as 'folder/sa_0000*.tar', or one tar in the SA-1B layout"
            )
        for folder, group in itertools.groupby(found, key=lambda unit: unit.path):
            units[folder] = list(group)
    return [unit for folder in sorted(units) for unit in units[folder]]


def _find(files: AbstractFileSystem, path: str) -> Iterator[Unit]:
    if files.isdir(path):
        yield from _in_folder(files, path, levels=1)
    elif files.exists(path):
        yield _tar(files, path, entry(files, path))
    else:
        for found in sorted(map(str, files.glob(path))):
            if files.isdir(found) and not found.endswith(".tar"):
                yield from _in_folder(files, found, levels=1)
            elif parse_name(found.rsplit("/", 1)[-1]):
                raise UserError(f"{path} names files of pairs: give the folder that holds them")
            else:
                yield _tar(files, found, entry(files, found))


def _in_folder(files: AbstractFileSystem, folder: str, *, levels: int) -> Iterator[Unit]:
    pairs: dict[str, list[tuple[str, Entry]]] = {}
    others: list[Entry] = []
    for found in entries(files, folder):
        parsed = parse_name(found.name)
        if found.name.endswith(".tar"):
            # Listing tells of a link, not of the file it leads to.
            yield _tar(files, f"{folder}/{found.name}", entry(files, f"{folder}/{found.name}"))
        elif parsed and found.is_file:
            pairs.setdefault(parsed[0], []).append((parsed[1], found))
        elif found.is_folder and levels and not found.name.startswith("."):
            yield from _in_folder(files, f"{folder}/{found.name}", levels=levels - 1)
        elif not found.is_folder:
            others.append(found)
    numbers = sorted(pairs, key=lambda number: (int(number), number))
    for start in range(0, len(numbers), PAIRS_A_SHARD):
        chosen = numbers[start : start + PAIRS_A_SHARD]
        held = [found for number in chosen for _, found in pairs[number]]
        yield Unit(
            path=_url(files, folder),
            fingerprint=_fingerprint(held),
            size=sum(found.size for found in held),
            numbers=tuple((number, tuple(suffix for suffix, _ in pairs[number])) for number in chosen),
            strays=len(others) if start == 0 else 0,
        )


def _tar(files: AbstractFileSystem, path: str, found: Entry) -> Unit:
    return Unit(path=_url(files, path), fingerprint=_fingerprint([found]), size=found.size)


def _url(files: AbstractFileSystem, path: str) -> str:
    return path if is_local(files) else files.unstrip_protocol(path)


def _fingerprint(held: Sequence[Entry]) -> str:
    digest = hashlib.sha256()
    for found in held:
        digest.update(f"{found.name}\0{found.size}\0{found.stamp}\n".encode())
    return digest.hexdigest()[:24]
