"""Photos that lie in files, tars, records or buckets: all found first, each read when it is needed."""

import contextlib
import dataclasses
import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fsspec import AbstractFileSystem
from jaxtyping import UInt8
from numpy import ndarray

from data_pipelines.dataset_kinds import INFO
from data_pipelines.pairs import MAX_PHOTO_BYTES, Drop, SourceError, Stray
from data_pipelines.photo_units import is_photo
from data_pipelines.storage import filesystem, open_bytes
from data_pipelines.tar_reader import list_photo_tar
from data_pipelines.units import url
from samjax.core.errors import UserError
from samjax.core.files import is_bucket
from samjax.core.patterns import files_beside, match_photos
from samjax.core.text import printable
from samjax.data.photo import read_photo, why_unreadable
from samjax.data.photo_ids import photo_key
from samjax.data.records import photos as records
from samjax.data.records.schema import RecordError
from samjax.data.stream.sources import RecordSource, holds_records, open_info, open_source

_GIVE = "give photos, a quoted pattern such as 'photos/*.jpg', tars of photos, or a folder of `samjax data prepare`"


class LoadedPhoto(NamedTuple):
    """A photo, read."""

    content: bytes
    """Its file."""
    pixels: UInt8[ndarray, "h w 3"]
    """Upright."""
    source: str
    """Where it is from, for people."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class PhotoPlace:
    """Where a photo lies."""

    key: str
    """What tells it from all other photos: an absolute path or a URL, of a tar's member with the tar's before it."""

    def read(self) -> bytes:
        """Return its file, undecoded.

        Raises:
          UserError: it cannot be read.
          MachineError: the machine fails; the photo may be sound.
        """
        raise NotImplementedError

    def load(self) -> LoadedPhoto:
        """Read the photo.

        Raises:
          UserError: it cannot be read.
          MachineError: the machine fails; the photo may be sound.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FilePlace(PhotoPlace):
    """A file on this machine."""

    path: str
    """As it was given."""

    def load(self) -> LoadedPhoto:
        """Read the file; see `PhotoPlace.load`."""
        pixels = read_photo(Path(self.path))
        return LoadedPhoto(self.read(), pixels, self.path)

    def read(self) -> bytes:
        """Read the file; see `PhotoPlace.read`."""
        try:
            return Path(self.path).read_bytes()
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {why_unreadable(error, name=self.path)}") from error


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StoredPlace(PhotoPlace):
    """A file in a bucket, or bytes of a tar."""

    files: AbstractFileSystem
    path: str
    """Of the file or the tar, on `files`."""
    start: int = 0
    size: int

    def load(self) -> LoadedPhoto:
        """Read the bytes in one request; see `PhotoPlace.load`."""
        content = self.read()
        return LoadedPhoto(content, read_photo(content, name=self.key), self.key)

    def read(self) -> bytes:
        """Read the bytes in one request; see `PhotoPlace.read`."""
        if self.size > MAX_PHOTO_BYTES:
            raise UserError(f"{self.key} has {self.size:,} bytes, more than {MAX_PHOTO_BYTES:,}")
        try:
            content = self.files.cat_file(self.path, start=self.start, end=self.start + self.size)
        except Exception as error:  # each store raises its own
            raise UserError(f"{self.key} cannot be read: {why_unreadable(error, name=self.key)}") from error
        if not isinstance(content, bytes) or len(content) != self.size:
            raise UserError(f"{self.key} cannot be read: {self.path} has changed since it was listed")
        return content


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RecordPlace(PhotoPlace):
    """A record of a folder that `samjax data prepare` made."""

    source: RecordSource
    index: int

    def load(self) -> LoadedPhoto:
        """Read the record, not its masks; see `PhotoPlace.load`."""
        record = self._record()
        name = f"{self.key}/{record.file_name}"
        return LoadedPhoto(record.jpeg, read_photo(record.jpeg, name=name), name)

    def read(self) -> bytes:
        """Read the record, not its masks; see `PhotoPlace.read`."""
        return self._record().jpeg

    def _record(self) -> records.Record:
        try:
            return records.decode_record(self.source[self.index])
        except RecordError as error:
            raise UserError(f"{self.key} cannot be read: {error}") from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhotoListing:
    """What `--images` names."""

    places: list[PhotoPlace]
    """Each photo once, sorted by key."""
    beside: list[Path]
    """Files in the same folders that no pattern matches."""
    unusable: list[str]
    """Members of tars that are too large or come twice, in sentences."""


def list_photos(patterns: Sequence[str], *, out: Path) -> PhotoListing:
    """Return where the photos are that `patterns` name. No photo is opened.

    A pattern names files, on this machine or as fsspec names them (`gs://`). Of these a `.tar` stands for the photos
    in it, whatever else it holds. It may also be a folder of records that `samjax data prepare` made, of all splits.

    Args:
      patterns: paths, or patterns with `*`, `?` and `**`.
      out: the folder to write, which no photo may lie in.

    Raises:
      UserError: a pattern that matches no photo, or one in `out`; a tar or a folder of records that is damaged.
    """
    found: dict[str, PhotoPlace] = {}
    unusable: list[str] = []
    local: list[str] = []
    matched: list[Path] = []
    for pattern in patterns:
        if _is_record_folder(pattern):
            places = list(_in_records(pattern))
        elif is_bucket(pattern):
            places = list(_in_bucket(pattern, unusable))
        else:
            paths = match_photos([pattern], out=out)
            places = list(_on_disk(paths, unusable))
            local.append(pattern)
            matched += paths
        if not places:
            raise UserError(f"--images {pattern} holds no photo: {_GIVE}")
        found |= {place.key: place for place in places}
    beside = files_beside(local, matched) if local else []
    return PhotoListing(places=[found[key] for key in sorted(found)], beside=beside, unusable=unusable)


def _is_record_folder(pattern: str) -> bool:
    if not is_bucket(pattern):
        return Path(pattern).expanduser().is_dir() and holds_records(pattern)
    files, path = filesystem(pattern)
    with _listing(pattern):
        return not glob.has_magic(path) and files.exists(f"{path.rstrip('/')}/{INFO}")


@contextlib.contextmanager
def _listing(pattern: str) -> Iterator[None]:
    """Turn what a store raises into a sentence: each has errors of its own."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"--images {pattern} cannot be listed ({error}): correct it") from error


def _on_disk(paths: Sequence[Path], unusable: list[str]) -> Iterator[PhotoPlace]:
    for path in paths:
        if path.suffix == ".tar":
            files, place = filesystem(photo_key(path))
            yield from _in_tar(files, place, unusable)
        else:
            yield FilePlace(key=photo_key(path), path=str(path))


def _in_bucket(pattern: str, unusable: list[str]) -> Iterator[PhotoPlace]:
    files, path = filesystem(pattern)
    with _listing(pattern):
        matched: Any = files.glob(path, detail=True)
    named = {str(name): info for name, info in matched.items() if info["type"] == "file"}
    if not named:
        what = "a folder" if matched else "nothing"
        raise UserError(f"--images {pattern} matches {what}: {_GIVE}")
    for name, info in sorted(named.items()):
        if name.endswith(".tar"):
            yield from _in_tar(files, name, unusable)
        else:
            yield StoredPlace(key=url(files, name), files=files, path=name, size=int(info["size"] or 0))


def _in_tar(files: AbstractFileSystem, path: str, unusable: list[str]) -> Iterator[PhotoPlace]:
    key, name = url(files, path), path.rsplit("/", 1)[-1]
    try:
        with open_bytes(files, path) as file:
            for item in list_photo_tar(file, name=name, is_photo=is_photo, expected="a photo (.jpg, .png, ...)"):
                if isinstance(item, Drop):
                    unusable.append(printable(f"{item.where}: {item.detail}"))
                elif not isinstance(item, Stray):
                    start, size = item.start, item.size
                    yield StoredPlace(key=f"{key}/{item.path}", files=files, path=path, start=start, size=size)
    except (SourceError, OSError) as error:
        raise UserError(f"--images {key} {error}: fetch it again, or exclude it") from error


def _in_records(folder: str) -> Iterator[PhotoPlace]:
    """Records are named by their places: to read their ids would be to read every photo."""
    info, path = open_info(folder, records.SCHEMA)
    root = str(path) if is_bucket(folder) else photo_key(str(path))
    for split in sorted(info.splits):
        source = open_source(folder, split, records.SCHEMA)
        for index in range(len(source)):
            yield RecordPlace(key=f"{root}/{info.name}-{split}-{index}", source=source, index=index)
