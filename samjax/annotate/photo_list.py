"""The photos that people annotate: found as `samjax generate` finds them, each opened once."""

import collections
import io
import logging
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from data_pipelines.photo_places import FilePlace, PhotoPlace, list_photos
from samjax.annotate.folder_about import local_folder, read_about
from samjax.annotate.refusals import UnknownPhotoError
from samjax.core.errors import UserError
from samjax.core.text import printable
from samjax.data.masks.rle import RleError, check_size
from samjax.data.photo import stored_size, turns_quarter
from samjax.data.photo_ids import assign_ids, photo_key
from samjax.data.upright_jpeg import upright_jpeg

log = logging.getLogger(__name__)

_MOST_BYTES = 64 * 2**20
"""Of a JPEG: `samjax data prepare` drops larger ones."""
_RECENT = 8
"""JPEGs kept in memory: a photo that is leased is asked for again at once."""
_READERS = 4
_TOLD = 20
"""How many unreadable photos are named."""


@dataclass(frozen=True, kw_only=True)
class ListedPhoto:
    """A photo to annotate."""

    id: int
    """Below 2^31; see `samjax.data.photo_ids`."""
    path: Path
    """Its file's; of a photo in a tar the tar's, with its name there behind it."""
    width: int
    """Upright, as viewers show it; so is `height`."""
    height: int
    place: PhotoPlace | None = None
    """What reads it; None if `path` is a file."""

    @property
    def key(self) -> str:
        """What tells it from all other photos: a file's absolute path, or a URL."""
        return photo_key(self.path) if self.place is None else self.place.key

    @property
    def source(self) -> str:
        """Where it is from, for people."""
        return str(self.path) if self.place is None else self.place.key


class PhotoList:
    """Photos by id, in listed order: sorted by path."""

    def __init__(self, photos: Sequence[ListedPhoto], *, unreadable: Sequence[str] = (), beside: Sequence[Path] = ()):
        self._photos = {photo.id: photo for photo in photos}
        self.unreadable = tuple(unreadable)
        """A sentence for each photo that was found and is not listed, for it cannot be read."""
        self.beside = tuple(beside)
        """Files in the photos' folders that the patterns do not match."""
        self._recent: collections.OrderedDict[int, bytes] = collections.OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, id: object) -> ListedPhoto:
        """Return the photo with this id.

        Raises:
          UnknownPhotoError: there is none.
        """
        if not isinstance(id, int) or isinstance(id, bool):
            raise UnknownPhotoError(f"{id!r} is no photo's id: give an integer")
        if id not in self._photos:
            raise UnknownPhotoError(f"there is no photo with the id {id}: it may not be among --images any more")
        return self._photos[id]

    def __contains__(self, id: object) -> bool:
        return type(id) is int and id in self._photos

    def __iter__(self) -> Iterator[int]:
        return iter(self._photos)

    def __len__(self) -> int:
        return len(self._photos)

    def values(self) -> Collection[ListedPhoto]:
        """Return the photos in listed order."""
        return self._photos.values()

    def jpeg(self, id: int) -> bytes:
        """Return the upright JPEG that will be stored: the file's own bytes where they can be.

        Raises:
          UserError: the photo cannot be read, is too large, or is not of the size any more that it was listed with.
        """
        photo = self[id]
        with self._lock:
            if id in self._recent:
                self._recent.move_to_end(id)
                return self._recent[id]
        content = _encode(photo)
        with self._lock:
            self._recent[id] = content
            while len(self._recent) > _RECENT:
                self._recent.popitem(last=False)
        return content


def open_photos(patterns: Sequence[str], out: str | Path) -> PhotoList:
    """Return the photos that `patterns`, as of `samjax generate --images`, name; each is opened once.

    Photos keep the ids that the annotation folder `out` has given them. A photo whose header cannot be read is listed
    in `unreadable`; pixels are decoded only when `PhotoList.jpeg` has to encode them.

    Raises:
      UserError: a pattern that names no photo, or one in `out`; a tar or a folder of records that is damaged; none of
        the photos can be read; `out` is something else than an annotation folder.
    """
    folder = local_folder(out)
    about = read_about(folder)
    listing = list_photos(patterns, out=folder)
    found = [
        (Path(place.path), None) if isinstance(place, FilePlace) else (Path(place.key), place)
        for place in listing.places
    ]
    with ThreadPoolExecutor(_READERS) as pool:
        sizes = list(pool.map(_upright_size, *zip(*found, strict=True)))
    unreadable = [*(size for size in sizes if isinstance(size, str)), *listing.unusable]
    if all(isinstance(size, str) for size in sizes):
        more = f"; and {len(unreadable) - _TOLD} more" if len(unreadable) > _TOLD else ""
        raise UserError(f"none of {len(unreadable):,} photos can be read: {'; '.join(unreadable[:_TOLD])}{more}")
    ids = assign_ids(about.photos if about else {}, [place.key for place in listing.places])
    photos = [
        ListedPhoto(id=ids[one.key], path=path, width=size[1], height=size[0], place=place)
        for one, (path, place), size in zip(listing.places, found, sizes, strict=True)
        if not isinstance(size, str)
    ]
    return PhotoList(photos, unreadable=unreadable, beside=listing.beside)


def _upright_size(path: Path, place: PhotoPlace | None) -> tuple[int, int] | str:
    """Return a photo's (height, width) as viewers show it, or why it cannot be read."""
    name = str(path) if place is None else place.key
    try:
        file = path if place is None else place.read()
        height, width = stored_size(file, name=name)
        check_size(height, width)
        return (width, height) if turns_quarter(file) else (height, width)
    except RleError as error:
        return printable(f"{name}: {error}")
    except UserError as error:
        return printable(str(error))


def _encode(photo: ListedPhoto) -> bytes:
    try:
        content = _upright(photo)
        with Image.open(io.BytesIO(content)) as opened:
            size = opened.size
    except UserError:
        raise
    except Exception as error:  # for broken files PIL raises OSError, SyntaxError, struct.error, ...
        raise UserError(f"{photo.source} cannot be read ({error}): replace it, or exclude it from --images") from error
    if size != (photo.width, photo.height):
        raise UserError(
            f"{photo.source} is {size[0]} x {size[1]} now and was {photo.width} x {photo.height}: restore it, or start "
            "again"
        )
    if len(content) > _MOST_BYTES:
        raise UserError(
            f"{photo.source} has {len(content):,} bytes as a JPEG, more than {_MOST_BYTES:,}: scale it down"
        )
    return content


def _upright(photo: ListedPhoto) -> bytes:
    if photo.place is None:
        return upright_jpeg(photo.path)
    content = photo.place.read()
    try:
        return upright_jpeg(content)
    except UserError as error:
        raise UserError(f"{photo.source}: {error}") from error
