"""What `--source` names, cut into units: a tar, or up to 4,096 pairs of a folder. A unit becomes one shard."""

import dataclasses
import hashlib
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fsspec import AbstractFileSystem

from data_pipelines.pairs import Drop, Pair, SourceError, Stray, match_apart, parse_name
from data_pipelines.photo_folders import PairFiles, read_pairs
from data_pipelines.storage import Entry, entries, entry, filesystem, is_local, open_bytes
from data_pipelines.tar_reader import read_tar
from samjax.core.errors import UserError
from samjax.core.machine_faults import machine_fault
from samjax.core.patterns import expand_pattern
from samjax.core.text import printable

log = logging.getLogger(__name__)

PAIRS_A_SHARD = 4_096
_LEVELS = 3
"""How far down a folder is searched."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
    """A tar, or some pairs of a folder."""

    path: str
    """The tar or the folder."""
    fingerprint: str
    """Changes when a file of the unit does: its size, or its time or tag."""
    size: int
    """Bytes."""
    pairs: tuple[PairFiles, ...] | None = None
    """Of a folder. None is a tar."""
    strays: int = 0
    """Files of a folder that are no part of a record, counted at its first unit."""

    @property
    def name(self) -> str:
        """For messages: the last part of the path."""
        last = self.path.rstrip("/").rsplit("/", 1)[-1]
        return last if self.pairs is None else f"{last}/"

    @property
    def key(self) -> str:
        """A file name that stands for this unit as it is now."""
        first = f"#{self.pairs[0].number}" if self.pairs else ""
        return hashlib.sha256(os.fsencode(f"{self.path}{first}\0{self.fingerprint}")).hexdigest()[:24]

    def read(self) -> Iterator[Pair | Drop | Stray]:
        """Yield what the unit holds.

        Raises:
          SourceError: it cannot be read to its end, or changed since it was listed.
        """
        files, path = filesystem(self.path)
        if self.pairs is not None:
            yield from read_pairs(files, path, self.pairs, name=self.name)
            return
        try:
            with open_bytes(files, path) as file:
                yield from read_tar(file, name=self.name)
            now = entry(files, path)
        except OSError as error:
            raise SourceError(f"cannot be read ({machine_fault(error) or error.strerror or error})") from error
        if _fingerprint([now]) != self.fingerprint:
            raise SourceError("changed while it was read")


def find_units(sources: str | Sequence[str]) -> list[Unit]:
    """Return the units of `sources` in the order of their paths, each once.

    A source is a tar, a glob of tars or folders, or a folder that holds tars, pairs, or folders of those, up to three
    deep. A photo and its JSON lie in one folder, or in two below one source.

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
        yield from _in_folder(files, path)
    elif files.exists(path):
        yield _tar(files, path, entry(files, path))
    else:
        hidden = path.rsplit("/", 1)[-1].startswith(".")
        for found in sorted(map(str, expand_pattern(path) if is_local(files) else files.glob(path))):
            name = found.rsplit("/", 1)[-1]
            if name.startswith(".") and not hidden:
                continue
            if files.isdir(found) and not found.endswith(".tar"):
                yield from _in_folder(files, found)
            elif parse_name(name):
                raise UserError(f"{path} names files of pairs: give the folder that holds them")
            else:
                yield _tar(files, found, entry(files, found))


class _File(NamedTuple):
    """A photo or a JSON in a folder."""

    folder: str
    number: str
    suffix: str
    entry: Entry


@dataclasses.dataclass
class _Walk:
    """What a folder and those in it hold."""

    tars: list[Unit] = dataclasses.field(default_factory=list)
    photos: list[_File] = dataclasses.field(default_factory=list)
    """And JSONs."""
    strays: int = 0
    visited: set[str] = dataclasses.field(default_factory=set)
    """Folders, links followed: a link that leads back up ends there."""


def _in_folder(files: AbstractFileSystem, folder: str) -> Iterator[Unit]:
    """Yield the units of a folder and of those in it. Links are followed, what is hidden is no data."""
    walk = _Walk()
    _walk(files, folder, walk, level=0)
    beside: dict[tuple[str, str], list[_File]] = {}
    for file in walk.photos:
        beside.setdefault((file.folder, file.number), []).append(file)
    lone = [group[0] for group in beside.values() if len(group) == 1]
    matched, _ = match_apart(lone, key=lambda file: (file.number, file.suffix))
    for photo, described in matched:
        beside[photo.folder, photo.number] = [photo, described]
        del beside[described.folder, described.number]
    groups: dict[str, list[list[_File]]] = {}
    for (place, _), group in beside.items():
        groups.setdefault(place, []).append(group)
    strays = walk.strays
    for unit in [*walk.tars, *(unit for place, found in groups.items() for unit in _units(files, place, found))]:
        yield dataclasses.replace(unit, strays=strays)
        strays = 0


def _walk(files: AbstractFileSystem, folder: str, walk: _Walk, *, level: int) -> None:
    real = os.path.realpath(folder) if is_local(files) else folder
    if real in walk.visited:
        return
    walk.visited.add(real)
    if level > _LEVELS:
        log.warning(
            "%s is more than %d folders down, and is not read: name it as a --source", printable(folder), _LEVELS
        )
        return
    for found in entries(files, folder):
        parsed = parse_name(found.name)
        if found.name.startswith("."):
            walk.strays += not found.is_folder
        elif found.name.endswith(".tar"):
            path = f"{folder}/{found.name}"
            walk.tars.append(_tar(files, path, entry(files, path)))
        elif parsed and found.is_file:
            walk.photos.append(_File(folder, *parsed, found))
        elif found.is_folder:
            _walk(files, f"{folder}/{found.name}", walk, level=level + 1)
        else:
            walk.strays += 1


def _units(files: AbstractFileSystem, folder: str, groups: list[list[_File]]) -> Iterator[Unit]:
    groups.sort(key=lambda group: (int(group[0].number), group[0].number))
    for start in range(0, len(groups), PAIRS_A_SHARD):
        chosen = groups[start : start + PAIRS_A_SHARD]
        held = [file.entry for group in chosen for file in group]
        yield Unit(
            path=_url(files, folder),
            fingerprint=_fingerprint(held),
            size=sum(found.size for found in held),
            pairs=tuple(_pair_files(group) for group in chosen),
        )


def _pair_files(group: list[_File]) -> PairFiles:
    apart = len({file.folder for file in group}) > 1
    return PairFiles(group[0].number, tuple(file.suffix for file in group), group[1].folder if apart else None)


def _tar(files: AbstractFileSystem, path: str, found: Entry) -> Unit:
    return Unit(path=_url(files, path), fingerprint=_fingerprint([found]), size=found.size)


def _url(files: AbstractFileSystem, path: str) -> str:
    return path if is_local(files) else files.unstrip_protocol(path)


def _fingerprint(held: Sequence[Entry]) -> str:
    digest = hashlib.sha256()
    for found in held:
        digest.update(os.fsencode(f"{found.name}\0{found.size}\0{found.stamp}\n"))
    return digest.hexdigest()[:24]
