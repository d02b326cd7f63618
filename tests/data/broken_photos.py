"""Photos that must be refused, whichever way they are decoded: (bytes, height, width, what is said)."""

import io
import struct

from PIL import Image
from shards import jpeg


def claim_size(data, height, width):
    """Rewrite the size in a JPEG's frame header."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def png():
    file = io.BytesIO()
    Image.new("RGB", (30, 20)).save(file, format="PNG")
    return file.getvalue()


GOOD = jpeg(20, 30)

BROKEN = [
    (GOOD, 20, 31, "photo is 20 x 30 but its record says 20 x 31"),
    (GOOD[: len(GOOD) // 2], 20, 30, "cannot be decoded"),
    (GOOD[:8], 20, 30, "not a JPEG|cannot be read"),
    (b"", 20, 30, "not a JPEG"),
    (b"\x00" * 500, 20, 30, "not a JPEG"),
    (png(), 20, 30, "not a JPEG"),
    (claim_size(GOOD, 65000, 65000), 20, 30, "cannot be read|record says"),
    (claim_size(GOOD, 65000, 65000), 65000, 65000, "more than"),
]
