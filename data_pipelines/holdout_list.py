"""A list of photos that a data set comes with, such as Pascal VOC's `val.txt`: which photos are held out.

One name a line. What follows a name after a space is ignored, as the depth map beside a photo in KITTI's lists. A name
may leave out the photo's ending and the folders that it is in, as long as it means one photo.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from samjax.core.errors import UserError
from samjax.core.text import printable
from samjax.core.text_list import read_lines

MISSING = "photos of the list that are not there"
_MOST_BYTES = 100_000_000
_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")


def read_photo_list(path: str | Path) -> frozenset[str]:
    """Return the names in a list, without endings.

    Raises:
      UserError: it cannot be read, or has no name.
    """
    path = Path(path).expanduser()
    lines = read_lines(path, most_bytes=_MOST_BYTES, what="list of photos", wanted="a list of photos, one name a line")
    names = frozenset(_bare(line.split()[0]) for line in lines if line.strip())
    if not names:
        raise UserError(f"{path} is empty: give a list of photos, one name a line")
    return names


def find_name(listed: frozenset[str], photo: str) -> str | None:
    """Return the name by which a list means `photo`, its path in the folder of photos; None if it does not."""
    parts = PurePosixPath(_bare(photo)).parts
    return next((name for start in range(len(parts)) if (name := "/".join(parts[start:])) in listed), None)


def check_list(listed: frozenset[str], photos: Iterable[str], *, allow_missing: bool) -> dict[str, int]:
    """Return what is left out: names in the list that no photo has.

    Raises:
      UserError: there are some and that is not allowed, or a name means several photos.
    """
    found = Counter(name for photo in photos if (name := find_name(listed, photo)) is not None)
    twice = next((name for name, count in found.items() if count > 1), None)
    if twice is not None:
        raise UserError(
            f"{printable(twice)} in the list is the name of {found[twice]} photos: write the folder before it"
        )
    missing = sorted(listed - found.keys())
    if missing and not allow_missing:
        raise UserError(
            f"{len(missing):,} of {len(listed):,} photos of the list are not there, such as {printable(missing[0])}: "
            "give the list of these photos, or --allow-missing to leave them out"
        )
    return {MISSING: len(missing)} if missing else {}


def _bare(name: str) -> str:
    """Return a photo's path without its ending; accents as one character, whichever system wrote them."""
    path = PurePosixPath(unicodedata.normalize("NFC", name))
    return str(path.with_suffix("") if path.suffix.lower() in _ENDINGS else path)
