"""Whether a JPEG is all there, without decoding it."""

import re

from samjax.data import transforms

_SEGMENT = re.compile(rb"\xff+([^\x00\x01\xff\xd0-\xd8])", re.DOTALL)  # the others have no length, or are data
_END = b"\xd9"
_MAX_SEGMENTS = 100_000


def check_jpeg(jpeg: bytes, *, height: int, width: int) -> None:
    """Raise PhotoError unless `jpeg` is a JPEG of `height` x `width`, as stored, that goes on to its end.

    The orientation in EXIF is left alone, as SA-1B's masks do: they lie on the pixels as stored. Its segments are
    walked (ISO 10918-1, annex B), a millisecond for a megabyte where decoding takes seventy; damage within them shows
    when the photo is decoded.
    """
    transforms.check_photo(jpeg, height=height, width=width)
    at = 2
    for _ in range(_MAX_SEGMENTS):
        found = _SEGMENT.search(jpeg, at)
        if found is None:
            raise transforms.PhotoError("JPEG is cut short: it has no end")
        if found[1] == _END:
            return
        at = found.end() + max(2, int.from_bytes(jpeg[found.end() : found.end() + 2], "big"))
    raise transforms.PhotoError(f"JPEG has more than {_MAX_SEGMENTS:,} segments")
