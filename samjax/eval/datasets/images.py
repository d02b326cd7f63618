"""Where the photos of annotations are: pictures in a folder, or records."""

import os
from pathlib import Path, PurePosixPath

from samjax.core.errors import UserError
from samjax.data.photo import Orientation, read_photo, stored_size
from samjax.data.records import RecordError, decode_record
from samjax.data.sources import RecordSource, open_info, open_source
from samjax.eval.datasets.dataset import ReadPhoto

_PICTURES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


class ImageFolder:
    """Pictures under a folder, each found by its path there or by its name alone."""

    def __init__(self, path: str | Path):
        self.path = Path(path).expanduser()
        if not self.path.is_dir():
            raise UserError(f"{path} is not a folder: give the folder of the photos")
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str, *, height: int, width: int) -> ReadPhoto | None:
        """Return what reads the photo called `name`, None if it is not there.

        Raises:
          UserError: several have that name, or it leads out of the folder.
        """
        path = self._find(name)
        return None if path is None else lambda: read_photo(path, orientation=Orientation.STORED, size=(height, width))

    def has(self, name: str) -> bool:
        """Return whether the photo called `name` is there.

        Raises:
          UserError: as `find`.
        """
        return self._find(name) is not None

    def size(self, name: str) -> tuple[int, int]:
        """Return the (height, width) that the header of the photo called `name`, which is there, says.

        Raises:
          UserError: it is no picture, or its header is damaged.
        """
        path = self._find(name)
        assert path is not None, name
        return stored_size(path)

    def names(self) -> list[str]:
        """Return the path of every picture in the folder, sorted."""
        paths = (path.relative_to(self.path) for path in self.path.rglob("*") if path.suffix.lower() in _PICTURES)
        return sorted(path.as_posix() for path in paths)

    def name_of(self, path: Path) -> str | None:
        """Return the name of a file in the folder, None if it is not in it."""
        place, folder = Path(os.path.abspath(path)), Path(os.path.abspath(self.path))
        return place.relative_to(folder).as_posix() if place.is_relative_to(folder) else None

    def _find(self, name: str) -> Path | None:
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise UserError(f"the photo {name!r} would lie outside {self.path}: names must be of files in it")
        path = self.path / relative
        try:
            if path.is_file():
                return path
        except OSError:  # a name that no file can have
            return None
        found = self._named(relative.name)
        if len(found) > 1:
            raise UserError(f"{self.path} holds several {relative.name}: {found[0]} and {found[1]}")
        return found[0] if found else None

    def _named(self, name: str) -> list[Path]:
        if self._by_name is None:
            self._by_name = {}
            for path in sorted(self.path.rglob("*")):
                self._by_name.setdefault(path.name, []).append(path)
        return self._by_name.get(name, [])


class ImageRecords:
    """Photos of a prepared folder of records, each found by its file's name; of all splits if none is named."""

    def __init__(self, path: str, split: str | None = None):
        self._source: RecordSource = open_source(path, split or "+".join(open_info(path)[0].splits))
        self._index: dict[str, int] = {}
        self._sizes: dict[int, tuple[int, int]] = {}
        for index in range(len(self._source)):
            try:
                record = decode_record(self._source[index])
            except RecordError:  # its photo is missing
                continue
            self._index[record.file_name] = index
            self._sizes[index] = (record.height, record.width)

    def find(self, name: str, *, height: int, width: int) -> ReadPhoto | None:
        """Return what reads the photo called `name`, None if it is not there."""
        index = self._index.get(PurePosixPath(name).name)
        if index is None:
            return None
        where = f"{name} in {self._source.name}"
        return lambda: read_photo(
            decode_record(self._source[index]).jpeg, name=where, orientation=Orientation.STORED, size=(height, width)
        )

    def has(self, name: str) -> bool:
        """Return whether the photo called `name` is there."""
        return PurePosixPath(name).name in self._index

    def size(self, name: str) -> tuple[int, int]:
        """Return the (height, width) that the record of the photo called `name`, which is there, says."""
        return self._sizes[self._index[PurePosixPath(name).name]]

    def names(self) -> list[str]:
        """Return the name of every photo, sorted."""
        return sorted(self._index)

    def name_of(self, path: Path) -> None:
        """Return None: no file is among records."""


ImageStore = ImageFolder | ImageRecords
