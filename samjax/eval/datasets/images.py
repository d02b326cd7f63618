"""Where the photos of annotations are: pictures in a folder, or records."""

import io
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from samjax.core.errors import UserError
from samjax.data.records import decode_record
from samjax.data.rle import MAX_PIXELS
from samjax.data.sources import RecordSource, open_source
from samjax.eval.datasets.dataset import ReadPhoto


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
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise UserError(f"the photo {name!r} would lie outside {self.path}: names must be of files in it")
        path = self.path / relative
        if not path.is_file():
            found = self._named(relative.name)
            if len(found) > 1:
                raise UserError(f"{self.path} holds several {relative.name}: {found[0]} and {found[1]}")
            if not found:
                return None
            path = found[0]
        return lambda: read_stored(path.read_bytes(), name=str(path), height=height, width=width)

    def _named(self, name: str) -> list[Path]:
        if self._by_name is None:
            self._by_name = {}
            for path in sorted(self.path.rglob("*")):
                self._by_name.setdefault(path.name, []).append(path)
        return self._by_name.get(name, [])


class ImageRecords:
    """Photos of a prepared folder of records, each found by its file's name."""

    def __init__(self, path: str, split: str):
        self._source: RecordSource = open_source(path, split)
        self._index = {decode_record(self._source[i]).file_name: i for i in range(len(self._source))}

    def find(self, name: str, *, height: int, width: int) -> ReadPhoto | None:
        """Return what reads the photo called `name`, None if it is not there."""
        index = self._index.get(PurePosixPath(name).name)
        if index is None:
            return None
        where = f"{name} in {self._source.name}"
        return lambda: read_stored(decode_record(self._source[index]).jpeg, name=where, height=height, width=width)


ImageStore = ImageFolder | ImageRecords


def read_stored(content: bytes, *, name: str, height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Return a picture's RGB pixels as they are stored, whatever EXIF says of their orientation: masks lie on these.

    Raises:
      UserError: it is no picture, damaged, or not of that size.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.size != (width, height) or height * width > MAX_PIXELS:  # before a pixel is decoded
                raise UserError(f"{name} is {picture.width} x {picture.height}, its annotations say {width} x {height}")
            return np.array(picture.convert("RGB"))
    except UserError:
        raise
    except Exception as error:  # for broken files PIL raises OSError, SyntaxError, struct.error, ...
        raise UserError(f"{name} cannot be read: {error or type(error).__name__}") from error
