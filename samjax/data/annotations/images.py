"""Where the photos of annotations are: pictures in a folder, or records."""

import functools
import os
from pathlib import Path, PurePosixPath

from samjax.core.errors import UserError
from samjax.data.annotations.dataset import ReadPhoto
from samjax.data.annotations.listing import files_under
from samjax.data.annotations.progress import Progress, no_progress
from samjax.data.photo import Orientation, read_photo, stored_size, turns_quarter
from samjax.data.records.masks import RecordError, decode_record
from samjax.data.stream.sources import RecordSource, open_info, open_source

_PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class ImageFolder:
    """Pictures under a folder, each called by its path there."""

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        if not self.path.is_dir():
            raise UserError(f"{path} is not a folder: give the folder of the photos")
        self._real: dict[Path, str] = {}

    def holders(self, name: str) -> list[str]:
        """Return where the photo called `name` is: its path, or nothing.

        Raises:
          UserError: the name leads out of the folder.
        """
        relative = PurePosixPath(name)
        outside = relative.is_absolute() and not relative.is_relative_to(os.path.abspath(self.path))
        if outside or ".." in relative.parts:
            raise UserError(f"the photo {name!r} would lie outside {self.path}: names must be of files in it")
        path = self.path / relative
        try:
            return [str(path)] if path.is_file() else []
        except (OSError, ValueError):  # a name that no file can have
            return []

    def namesakes(self, last: str) -> list[str]:
        """Return the names of the photos whose last part is `last`, each photo once however many links lead to it."""
        found: dict[str, str] = {}
        for name in self._by_last.get(last, []):
            found.setdefault(self.place(name), name)
        return list(found.values())

    def place(self, name: str) -> str:
        """Return what two names share if they are of one photo, through links to folders."""
        return self.place_of(self.path / name)

    def place_of(self, path: Path) -> str:
        """Return the `place` of the file at `path`, in the folder or not."""
        if path.parent not in self._real:
            self._real[path.parent] = os.path.realpath(path.parent)
        return os.path.join(self._real[path.parent], path.name)

    def size(self, name: str) -> tuple[int, int]:
        """Return the (height, width) that the header of the photo called `name`, which is there, says.

        Raises:
          UserError: it is no picture, or its header is damaged.
        """
        return stored_size(self.path / name)

    def is_turned_by_exif(self, name: str) -> bool:
        """Return whether EXIF turns the photo called `name`, which is there, by a quarter."""
        return turns_quarter(self.path / name)

    def reader(self, name: str, *, height: int, width: int) -> ReadPhoto:
        """Return what reads the photo called `name`, which is there."""
        path = self.path / name
        return lambda: read_photo(path, orientation=Orientation.STORED, size=(height, width))

    def names(self) -> list[str]:
        """Return the path of every picture in the folder, sorted, excluding hidden ones."""
        return [name for name in self._listed if PurePosixPath(name).suffix.lower() in _PICTURES]

    @functools.cached_property
    def _listed(self) -> list[str]:
        return [path.relative_to(self.path).as_posix() for path in files_under(self.path)]

    @functools.cached_property
    def _by_last(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self._listed:
            found.setdefault(PurePosixPath(name).name, []).append(name)
        return found


class ImageRecords:
    """Photos of a prepared folder of records, each called by its record's file name; of all splits if none is named."""

    def __init__(self, path: str, split: str | None = None, *, progress: Progress = no_progress):
        self._source: RecordSource = open_source(path, split or "+".join(open_info(path)[0].splits))
        self._index: dict[str, list[int]] = {}
        self._by_last: dict[str, list[str]] = {}
        self._sizes: dict[int, tuple[int, int]] = {}
        with progress("records", total=len(self._source)) as watch:
            for index in range(len(self._source)):
                watch(1)
                try:
                    record = decode_record(self._source[index])
                except RecordError:  # its photo is missing
                    continue
                self._index.setdefault(record.file_name, []).append(index)
                self._sizes[index] = (record.height, record.width)
        for name in self._index:
            self._by_last.setdefault(PurePosixPath(name).name, []).append(name)

    def holders(self, name: str) -> list[str]:
        """Return the records that hold the photo called `name`."""
        return [f"record {index:,} of {self._source.name}" for index in self._index.get(name, [])]

    def namesakes(self, last: str) -> list[str]:
        """Return the names of the photos whose last part is `last`."""
        return self._by_last.get(last, [])

    def place(self, name: str) -> str:
        """Return what two names share if they are of one photo: the name."""
        return name

    def place_of(self, path: Path) -> None:
        """Return None: no file is among records."""

    def size(self, name: str) -> tuple[int, int]:
        """Return the (height, width) that the record of the photo called `name`, which is there, says."""
        return self._sizes[self._index[name][0]]

    def is_turned_by_exif(self, name: str) -> bool:
        """Return whether EXIF turns the photo called `name`, which is there, by a quarter."""
        return turns_quarter(self._jpeg(name))

    def reader(self, name: str, *, height: int, width: int) -> ReadPhoto:
        """Return what reads the photo called `name`, which is there."""
        where = f"{name} in {self._source.name}"
        return lambda: read_photo(self._jpeg(name), name=where, orientation=Orientation.STORED, size=(height, width))

    def names(self) -> list[str]:
        """Return the name of every photo, sorted."""
        return sorted(self._index)

    def _jpeg(self, name: str) -> bytes:
        return decode_record(self._source[self._index[name][0]]).jpeg


ImageStore = ImageFolder | ImageRecords
