"""Photos of a folder with what is known of each, some of one split at a time: the units of a preparation.

Subclasses add what is known; the photo itself is stored without loss.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from data_pipelines.dataset_kinds import Counts, EncodedRecord
from data_pipelines.lossless import store_photo
from data_pipelines.pairs import Drop, SourceError, Stray
from data_pipelines.units import Unit
from samjax.core.errors import MachineError, UserError
from samjax.core.machine_faults import machine_fault
from samjax.core.text import printable
from samjax.data.masks import rle
from samjax.data.photo import PhotoError

PHOTOS_A_SHARD = 256
"""Fewer than of other sources: these sets are small, and lossless encoding takes a second for a large photo."""
_MAX_BYTES = 8 * rle.MAX_PIXELS
"""Of a photo's file: four channels of 16 bits at the largest size."""


class FolderPhoto(Protocol):
    """A photo; its file is read when its record is made."""

    @property
    def path(self) -> str:
        """In the folder of photos."""
        ...

    @property
    def image_id(self) -> int:
        """Unique in the data set, below 2^31."""
        ...

    @property
    def height(self) -> int:
        """Of the photo as stored, in pixels; as is `width`."""
        ...

    @property
    def width(self) -> int:
        """See `height`."""
        ...

    def description(self) -> str:
        """Return all that its record depends on but the photo's file, in words that change with it."""
        ...

    def files(self) -> Sequence[str]:
        """Return the paths of other files that its record is made of."""
        ...


class RecordPart(NamedTuple):
    """A record's bytes, what is counted of it, and how many bytes were read for it beside the photo."""

    data: bytes
    counts: Counts
    size: int = 0


Own = TypeVar("Own", bound=FolderPhoto)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FolderUnit(Unit):
    """Some photos of one split; `path` is the folder of all photos."""

    photos: tuple[Any, ...]
    """Each a `FolderPhoto`."""
    split_name: str
    omissions: Mapping[str, int]
    settings_text: str

    expectation: ClassVar[str] = "an annotated photo"

    @property
    def first(self) -> str:
        """What tells the units of one folder apart."""
        return f"{self.split_name}/{self.photos[0].path}"

    @property
    def settings(self) -> str:
        """What the user chose, in words."""
        return self.settings_text

    @property
    def split(self) -> str:
        """The split that the photos go to."""
        return self.split_name

    @property
    def left_out(self) -> Mapping[str, int]:
        """What of the annotations is in no unit, counted at the first."""
        return self.omissions

    def records(self) -> Iterator[EncodedRecord | Drop | Stray]:
        """Yield what the unit holds; errors are those of `Unit.records`."""
        for photo in self.photos:
            yield self._encode(photo)

    def encode(self, photo: Any, identity: dict[str, Any], *, where: str) -> RecordPart | Drop:
        """Return the record of a photo, or why there is none; `identity` has the fields of `photos.Record`.

        Raises:
          OSError: a file of it cannot be read.
        """
        raise NotImplementedError

    def _encode(self, photo: FolderPhoto) -> EncodedRecord | Drop:
        """An unreadable file costs only its record."""
        where = f"{self.name}: {photo.path}"
        try:
            with open(Path(self.path) / photo.path, "rb") as file:
                content = file.read(_MAX_BYTES + 1)
            if len(content) > _MAX_BYTES:
                return Drop(where=where, kind="too large", detail=f"it has more than {_MAX_BYTES:,} bytes")
            stored = store_photo(content, height=photo.height, width=photo.width, name=where)
            identity = {
                "image_id": photo.image_id,
                "file_name": printable(photo.path),
                "height": photo.height,
                "width": photo.width,
                "jpeg": stored.content,
            }
            part = self.encode(photo, identity, where=where)
        except OSError as error:
            if fault := machine_fault(error):
                raise SourceError(f"cannot be read at {photo.path} ({fault})") from error
            return Drop(where=where, kind="unreadable", detail=f"it cannot be read ({error.strerror or error})")
        except PhotoError as error:
            return Drop(where=where, kind="broken photo", detail=str(error)[:300])
        except MachineError as error:
            raise SourceError(f"cannot be read: {error}") from error
        if isinstance(part, Drop):
            return part
        return EncodedRecord(
            where=where,
            image_id=photo.image_id,
            data=part.data,
            size=len(content) + part.size,
            counts=part.counts,
            changes=stored.changes,
        )


def make_units(
    make: Callable[..., FolderUnit],
    photos: Mapping[str, Sequence[Own]],
    *,
    folder: Path,
    left_out: Mapping[str, int],
    settings: str,
) -> list[FolderUnit]:
    """Return the units of photos by split, at most `PHOTOS_A_SHARD` each.

    Args:
      make: makes a unit of its fields.
      photos: of each split.
      folder: of the photos.
      left_out: what of the annotations is in no unit, and how much of it.
      settings: what the user chose, in words.

    Raises:
      UserError: a file is not there.
    """
    units: list[FolderUnit] = []
    for split, chosen in photos.items():
        for start in range(0, len(chosen), PHOTOS_A_SHARD):
            part = tuple(chosen[start : start + PHOTOS_A_SHARD])
            here = {} if units else left_out
            try:
                fingerprint, size = fingerprint_photos(folder, part, here)
            except OSError as error:
                raise UserError(f"{error.filename} cannot be read ({error.strerror or error}): correct it") from error
            units.append(
                make(
                    path=str(folder),
                    fingerprint=fingerprint,
                    size=size,
                    photos=part,
                    split_name=split,
                    omissions=here,
                    settings_text=settings,
                )
            )
    return units


def fingerprint_photos(folder: Path, photos: Sequence[FolderPhoto], left_out: Mapping[str, int]) -> tuple[str, int]:
    """Return what changes when a file of the photos, a size or what is known of them does, and their files' bytes.

    Raises:
      OSError: a file is not there.
    """
    digest, total = hashlib.sha256(repr(sorted(left_out.items())).encode()), 0
    for photo in photos:
        status = os.stat(folder / photo.path)
        total += status.st_size
        said = f"{photo.path}\0{status.st_size}\0{status.st_mtime_ns}\0"
        said += f"{(photo.image_id, photo.height, photo.width)}\0{photo.description()}"
        for path in photo.files():
            status = os.stat(path)
            total += status.st_size
            said += f"\0{path}\0{status.st_size}\0{status.st_mtime_ns}"
        digest.update(os.fsencode(said + "\n"))
    return digest.hexdigest()[:24], total
