"""Splits a `--source` in the SA-1B layout into units: a tar, or up to 4,096 pairs of a folder.

A unit becomes one shard.
"""

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import BinaryIO, ClassVar, NamedTuple, TypeVar

from fsspec import AbstractFileSystem

from data_pipelines.dataset_kinds import EncodedRecord
from data_pipelines.descriptions import encode_pair
from data_pipelines.pairs import Drop, Pair, SourceError, Stray, match_apart, parse_name
from data_pipelines.photo_folders import PairFiles, read_pairs
from data_pipelines.storage import Entry, entry, filesystem, is_local, open_bytes
from data_pipelines.tar_reader import read_tar
from data_pipelines.walk import walk
from samjax.core.errors import UserError
from samjax.core.machine_faults import machine_fault
from samjax.core.patterns import expand_pattern

T = TypeVar("T")

PAIRS_A_SHARD = 4_096
_LEVELS = 3
"""How far down a folder is searched."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
    """A tar, or some files of a folder. Subclasses turn them into records."""

    path: str
    """The tar or the folder."""
    fingerprint: str
    """Changes when a file of the unit changes in size, time or tag."""
    size: int
    """Bytes."""
    strays: int = 0
    """Files of a folder that are no part of a record, counted at its first unit."""

    expectation: ClassVar[str]
    """For messages: what a file must be, else it is a stray."""

    @property
    def name(self) -> str:
        """For messages: the last part of the path."""
        last = self.path.rstrip("/").rsplit("/", 1)[-1]
        return last if self.first is None else f"{last}/"

    @property
    def first(self) -> str | None:
        """What tells the units of one folder apart; None is a tar."""
        raise NotImplementedError

    @property
    def settings(self) -> str:
        """What the user chose of how photos are written, in words; units that differ in it do not go together."""
        return ""

    @property
    def split(self) -> str:
        """The split that its records go to; empty where the preparation has one only."""
        return ""

    @property
    def left_out(self) -> Mapping[str, int]:
        """What of the source is in no unit, by kind, counted at its first unit; a change of it changes the unit."""
        return {}

    @property
    def key(self) -> str:
        """A file name that stands for this unit as it is now."""
        first = "" if self.first is None else f"#{self.first}"
        return hashlib.sha256(os.fsencode(f"{self.path}{first}\0{self.fingerprint}")).hexdigest()[:24]

    def records(self) -> Iterator[EncodedRecord | Drop | Stray]:
        """Yield what the unit holds.

        Raises:
          SourceError: it cannot be read to its end, or changed since it was listed.
        """
        raise NotImplementedError

    def read_whole(self, read: Callable[[BinaryIO], Iterator[T]]) -> Iterator[T]:
        """Yield what `read` finds in the tar.

        Raises:
          SourceError: it cannot be read to its end, or changed since it was listed.
        """
        files, path = filesystem(self.path)
        try:
            with open_bytes(files, path) as file:
                yield from read(file)
            now = entry(files, path)
        except OSError as error:
            raise SourceError(f"cannot be read ({machine_fault(error) or error.strerror or error})") from error
        if fingerprint([now]) != self.fingerprint:
            raise SourceError("changed while it was read")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairUnit(Unit):
    """A tar, or some pairs of a folder, in the SA-1B layout."""

    pairs: tuple[PairFiles, ...] | None = None
    """Of a folder. None is a tar."""

    expectation: ClassVar[str] = "a plain sa_<id>.jpg or .json"

    @property
    def first(self) -> str | None:
        """What tells the units of one folder apart; None is a tar."""
        return None if self.pairs is None else self.pairs[0].number

    def records(self) -> Iterator[EncodedRecord | Drop | Stray]:
        """Yield what the unit holds; errors are those of `Unit.records`."""
        for item in self._read():
            yield encode_pair(item) if isinstance(item, Pair) else item

    def _read(self) -> Iterator[Pair | Drop | Stray]:
        if self.pairs is None:
            return self.read_whole(lambda file: read_tar(file, name=self.name))
        files, path = filesystem(self.path)
        return read_pairs(files, path, self.pairs, name=self.name)


def find_units(sources: str | Sequence[str]) -> list[PairUnit]:
    """Return the units of `sources` in the order of their paths, each once.

    A source is a tar, a glob of tars or folders, or a folder that holds tars, pairs, or folders of those, up to three
    deep. A photo and its JSON lie in one folder, or in two below one source.

    Raises:
      UserError: a source that holds neither.
    """
    units: dict[str, list[PairUnit]] = {}
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


def _find(files: AbstractFileSystem, path: str) -> Iterator[PairUnit]:
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
class _Content:
    """What a folder and those in it hold."""

    tars: list[PairUnit] = dataclasses.field(default_factory=list)
    photos: list[_File] = dataclasses.field(default_factory=list)
    """And JSONs."""
    strays: int = 0


def _in_folder(files: AbstractFileSystem, folder: str) -> Iterator[PairUnit]:
    """Yield the units of a folder and of those in it. Links are followed, what is hidden is no data."""
    data = _sort_out(files, folder)
    beside: dict[tuple[str, str], list[_File]] = {}
    for file in data.photos:
        beside.setdefault((file.folder, file.number), []).append(file)
    lone = [group[0] for group in beside.values() if len(group) == 1]
    matched, _ = match_apart(lone, key=lambda file: (file.number, file.suffix))
    for photo, described in matched:
        beside[photo.folder, photo.number] = [photo, described]
        del beside[described.folder, described.number]
    groups: dict[str, list[list[_File]]] = {}
    for (place, _), group in beside.items():
        groups.setdefault(place, []).append(group)
    strays = data.strays
    for unit in [*data.tars, *(unit for place, found in groups.items() for unit in _units(files, place, found))]:
        yield dataclasses.replace(unit, strays=strays)
        strays = 0


def _sort_out(files: AbstractFileSystem, folder: str) -> _Content:
    found = _Content()
    for place, file in walk(files, folder, levels=_LEVELS):
        parsed = parse_name(file.name)
        if file.name.startswith("."):
            found.strays += not file.is_folder
        elif file.name.endswith(".tar"):
            path = f"{place}/{file.name}"
            found.tars.append(_tar(files, path, entry(files, path)))
        elif parsed and file.is_file:
            found.photos.append(_File(place, *parsed, file))
        else:
            found.strays += 1
    return found


def _units(files: AbstractFileSystem, folder: str, groups: list[list[_File]]) -> Iterator[PairUnit]:
    groups.sort(key=lambda group: (int(group[0].number), group[0].number))
    for start in range(0, len(groups), PAIRS_A_SHARD):
        chosen = groups[start : start + PAIRS_A_SHARD]
        held = [file.entry for group in chosen for file in group]
        yield PairUnit(
            path=url(files, folder),
            fingerprint=fingerprint(held),
            size=sum(found.size for found in held),
            pairs=tuple(_pair_files(group) for group in chosen),
        )


def _pair_files(group: list[_File]) -> PairFiles:
    apart = len({file.folder for file in group}) > 1
    return PairFiles(group[0].number, tuple(file.suffix for file in group), group[1].folder if apart else None)


def _tar(files: AbstractFileSystem, path: str, found: Entry) -> PairUnit:
    return PairUnit(path=url(files, path), fingerprint=fingerprint([found]), size=found.size)


def url(files: AbstractFileSystem, path: str) -> str:
    """Return what names `path`, on the file system `files`, for `filesystem`."""
    return path if is_local(files) else files.unstrip_protocol(path)


def fingerprint(held: Sequence[Entry]) -> str:
    """Return what changes when one of some files does."""
    digest = hashlib.sha256()
    for found in held:
        digest.update(os.fsencode(f"{found.name}\0{found.size}\0{found.stamp}\n"))
    return digest.hexdigest()[:24]
