"""Splits a `--source` of photos without masks into units: a tar, or up to 4,096 photos of a folder and its subfolders.

Photos are named by their path in the source, and their image id is a hash of that name, so it does not depend on what
else the source holds or what was prepared before.
"""

import dataclasses
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from fsspec import AbstractFileSystem

from data_pipelines.dataset_kinds import EncodedRecord
from data_pipelines.duplicates import next_free
from data_pipelines.pairs import MAX_PHOTO_BYTES, Drop, PhotoFile, SourceError, Stray, photo_too_large
from data_pipelines.photo_jpegs import PhotoRules, to_jpeg
from data_pipelines.storage import Entry, entry, filesystem, is_local, open_bytes
from data_pipelines.tar_reader import read_photo_tar
from data_pipelines.units import Unit, fingerprint, url
from data_pipelines.walk import walk
from samjax.core.errors import MachineError, UserError
from samjax.core.machine_faults import machine_fault
from samjax.core.patterns import expand_pattern
from samjax.core.text import printable
from samjax.data.photo import PhotoError
from samjax.data.records import photos as records

PHOTOS_A_SHARD = 4_096
_PHOTO = re.compile(
    r"[^.].*\.(avif|bmp|gif|j2k|jfif|jp2|jpe|jpe?g|p[bgnp]m|png|tga|tiff?|webp)", re.IGNORECASE | re.DOTALL
)
_EXPECTED = "a photo (.jpg, .png, .webp, ...)"


def is_photo(name: str) -> bool:
    """Return whether a file of that name, without its folder, is a photo; hidden files are none."""
    return _PHOTO.fullmatch(name) is not None


def image_id_of(name: str) -> int:
    """Return the image id of the photo called `name`: the first 31 bits of the name's SHA-256."""
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:4], "big") >> 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotoUnit(Unit):
    """A tar of photos, or some photos of a folder and those below it."""

    photos: tuple[str, ...] | None = None
    """Paths in the folder. None is a tar."""
    rules: PhotoRules

    expectation: ClassVar[str] = _EXPECTED

    @property
    def first(self) -> str | None:
        """What tells the units of one folder apart; None is a tar."""
        return None if self.photos is None else self.photos[0]

    @property
    def settings(self) -> str:
        """What the user chose of how photos are written, in words."""
        return str(self.rules)

    def records(self) -> Iterator[EncodedRecord | Drop | Stray]:
        """Yield what the unit holds; errors are those of `Unit.records`."""
        ids: set[int] = set()
        for item in self._read():
            record = self._encode(item, ids) if isinstance(item, PhotoFile) else item
            if isinstance(record, EncodedRecord):
                ids.add(record.image_id)
            yield record

    def _read(self) -> Iterator[PhotoFile | Drop | Stray]:
        if self.photos is not None:
            return self._read_files(self.photos)
        return self.read_whole(lambda file: read_photo_tar(file, name=self.name, is_photo=is_photo, expected=_EXPECTED))

    def _read_files(self, photos: Sequence[str]) -> Iterator[PhotoFile | Drop]:
        """An unreadable file costs only its record."""
        files, folder = filesystem(self.path)
        for name in photos:
            where = f"{self.name}: {name}"
            try:
                with open_bytes(files, f"{folder}/{name}") as file:
                    content = file.read(MAX_PHOTO_BYTES + 1)
            except OSError as error:
                if fault := machine_fault(error):
                    raise SourceError(f"cannot be read at {name} ({fault})") from error
                yield Drop(where=where, kind="unreadable", detail=f"it cannot be read ({error.strerror or error})")
                continue
            if len(content) > MAX_PHOTO_BYTES:
                yield photo_too_large(where, size=len(content))
            else:
                yield PhotoFile(where=where, name=name, content=content)

    def _encode(self, file: PhotoFile, ids: set[int]) -> EncodedRecord | Drop:
        try:
            photo = to_jpeg(file.content, rules=self.rules, name=file.where)
        except PhotoError as error:
            return Drop(where=file.where, kind="broken photo", detail=str(error)[:300])
        except MachineError as error:
            raise SourceError(f"cannot be read: {error}") from error
        name = file.name if self.photos is not None else f"{self.name}/{file.name}"
        image_id = next_free(image_id_of(name), ids.__contains__)
        record = records.Record(
            image_id=image_id,
            file_name=printable(name),
            height=photo.height,
            width=photo.width,
            jpeg=photo.jpeg,
        )
        return EncodedRecord(
            where=file.where,
            image_id=image_id,
            data=records.encode_record(record),
            size=len(file.content),
            changes=photo.changes,
        )


@dataclasses.dataclass
class _Listing:
    """What sources hold."""

    tars: dict[str, PhotoUnit] = dataclasses.field(default_factory=dict)
    """By path."""
    photos: dict[str, dict[str, Entry]] = dataclasses.field(default_factory=dict)
    """By the folder that a source names, then by the path in it."""
    strays: int = 0
    mentions: int = 0
    """Tars and photos that sources named, each as often as they did."""
    seen: set[str] = dataclasses.field(default_factory=set)
    """Files, wherever they were named."""


def find_photos(sources: str | Sequence[str], *, rules: PhotoRules) -> list[PhotoUnit]:
    """Return the units of `sources` in the order of their paths, each photo once.

    A source is a photo, a tar of photos, a folder of either that is read all the way down, or a quoted pattern of any
    of these, in which `**` stands for any folders.

    Raises:
      UserError: a source that holds none.
    """
    found = _Listing()
    for source in [sources] if isinstance(sources, str) else sources:
        files, path = filesystem(source)
        before = found.mentions
        try:
            _add(files, path.rstrip("/") or path, found, rules)
        except OSError as error:
            raise UserError(f"{source} cannot be listed ({error.strerror or error}): correct it") from error
        if found.mentions == before:
            raise UserError(
                f"{source} holds no photos: give a folder with photos in it or below it (.jpg, .png, .webp, ...), a "
                "tar of photos, or a quoted pattern such as 'folder/**/*.jpg'"
            )
    units = [*found.tars.values(), *(unit for root in found.photos for unit in _units(root, found.photos[root], rules))]
    units.sort(key=lambda unit: (unit.path, unit.first or ""))
    return [dataclasses.replace(units[0], strays=found.strays), *units[1:]] if units else []


def _add(files: AbstractFileSystem, path: str, found: _Listing, rules: PhotoRules) -> None:
    if files.isdir(path):
        _add_folder(files, path, path, found, rules)
    elif files.exists(path):
        folder, name = path.rsplit("/", 1)
        _add_file(files, folder, folder, entry(files, path)._replace(name=name), found, rules)
    else:
        root = _folder_of_pattern(path)
        for named in sorted(map(str, expand_pattern(path) if is_local(files) else files.glob(path))):
            folder, name = named.rsplit("/", 1)
            if files.isdir(named) and not name.endswith(".tar"):
                if "**" not in path:  # else it names the files below too
                    _add_folder(files, root, named, found, rules)
            else:
                _add_file(files, root, folder, entry(files, named)._replace(name=name), found, rules)


def _folder_of_pattern(pattern: str) -> str:
    parts = pattern.split("/")
    fixed = next(number for number, part in enumerate([*parts, "*"]) if any(mark in part for mark in "*?["))
    return "/".join(parts[: min(fixed, len(parts) - 1)])


def _add_folder(files: AbstractFileSystem, root: str, folder: str, found: _Listing, rules: PhotoRules) -> None:
    for place, file in walk(files, folder):
        _add_file(files, root, place, file, found, rules)


def _add_file(
    files: AbstractFileSystem, root: str, folder: str, file: Entry, found: _Listing, rules: PhotoRules
) -> None:
    path = f"{folder}/{file.name}"
    place = url(files, path)
    if place in found.seen:
        found.mentions += 1
        return
    if file.name.endswith(".tar") and not file.name.startswith("."):
        now = entry(files, path)
        found.tars[place] = PhotoUnit(path=place, fingerprint=fingerprint([now]), size=now.size, rules=rules)
    elif is_photo(file.name) and file.is_file:
        name = path[len(root) + 1 :]
        found.photos.setdefault(url(files, root), {})[name] = file._replace(name=name)
    else:
        found.strays += not file.is_folder
        return
    found.seen.add(place)
    found.mentions += 1


def _units(root: str, photos: dict[str, Entry], rules: PhotoRules) -> Iterator[PhotoUnit]:
    names = sorted(photos)
    for start in range(0, len(names), PHOTOS_A_SHARD):
        chosen = names[start : start + PHOTOS_A_SHARD]
        held = [photos[name] for name in chosen]
        yield PhotoUnit(
            path=root,
            fingerprint=fingerprint(held),
            size=sum(found.size for found in held),
            photos=tuple(chosen),
            rules=rules,
        )
