"""Checks that a JPEG is complete without decoding it."""

import io

import numpy as np
from jaxtyping import Int
from PIL import ExifTags, Image

from samjax.data.photo import PhotoError, check_photo

_END = 0xD9
_MAX_SEGMENTS = 100_000


def check_jpeg(jpeg: bytes, *, height: int, width: int) -> None:
    """Raise PhotoError unless `jpeg` is a JPEG of `height` x `width`, as stored, that goes on to its end.

    The orientation in EXIF is left alone, as SA-1B's masks do: they lie on the pixels as stored. Its segments are
    walked (ISO 10918-1, annex B) without decoding; damage within them shows when the photo is decoded.
    """
    try:
        check_photo(jpeg, height=height, width=width, formats=("JPEG",))
    except PhotoError as error:
        if not _is_turned(jpeg, height=height, width=width):
            raise
        raise PhotoError(
            f"{error}: EXIF turns it, but masks must lie on the pixels as stored; turn the masks, or the pixels"
        ) from error
    markers = _find_markers(jpeg)
    at = 2
    for _ in range(_MAX_SEGMENTS):
        index = np.searchsorted(markers, at)
        if index == len(markers):
            raise PhotoError("JPEG is cut short: it has no end")
        after = int(markers[index]) + 2
        if jpeg[after - 1] == _END:
            return
        at = after + max(2, int.from_bytes(jpeg[after : after + 2], "big"))
    raise PhotoError(f"JPEG has more than {_MAX_SEGMENTS:,} segments")


def _is_turned(jpeg: bytes, *, height: int, width: int) -> bool:
    """Return whether `height` x `width` is the photo's size after the quarter turn that its EXIF asks for."""
    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as photo:
            return photo.size == (height, width) and photo.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except Exception:  # PIL raises many types for broken files, which were told already
        return False


def _find_markers(jpeg: bytes) -> Int[np.ndarray, "markers"]:
    """Return where FF is followed by what begins a segment or ends the photo.

    After the others (00: a byte of data, D0 to D7: a restart, 01 and D8, FF: filling) no length follows.
    """
    content = np.frombuffer(jpeg, np.uint8)
    begins = np.flatnonzero(content[:-1] == 0xFF)
    following = content[begins + 1]
    plain = (following <= 0x01) | (following == 0xFF) | ((following >= 0xD0) & (following <= 0xD8))
    return begins[~plain]
