"""Whether a JPEG is all there, without decoding it."""

import re

from samjax.data import transforms

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)  # 00 is a byte of data, d0-d7 restart it
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA


def check_jpeg(jpeg: bytes, *, height: int, width: int) -> None:
    """Raise PhotoError unless `jpeg` is a JPEG of `height` x `width`, as stored, that goes on to its end.

    The orientation in EXIF is left alone, as SA-1B's masks do: they lie on the pixels as stored. Its segments are
    walked (ISO 10918-1, annex B), a millisecond for a megabyte where decoding takes seventy; damage within them shows
    when the photo is decoded.
    """
    transforms.check_photo(jpeg, height=height, width=width)
    at = 2
    while found := _MARKER.search(jpeg, at):
        marker = found[1][0]
        if marker == _END:
            return
        at = found.end()
        if marker not in (0x01, _START):
            at += max(2, int.from_bytes(jpeg[at : at + 2], "big"))
    raise transforms.PhotoError("JPEG is cut short: it has no end")
