"""Photos that must be refused, whichever way they are decoded: (bytes, height, width, what is said)."""

import io
import struct

from PIL import Image
from shards import jpeg


def claim_size(data, height, width):
    """Rewrite the size in a JPEG's frame header."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def encoded(kind, mode="RGB"):
    file = io.BytesIO()
    Image.effect_noise((30, 20), 50).convert(mode).save(file, format=kind)
    return file.getvalue()


GOOD, PNG = jpeg(20, 30), encoded("PNG")

BROKEN = [
    (GOOD, 20, 31, "photo is 20 x 30 but its record says 20 x 31"),
    (GOOD[: len(GOOD) // 2], 20, 30, "cannot be decoded"),
    (GOOD[:8], 20, 30, "not a JPEG|cannot be read"),
    (b"", 20, 30, "not a JPEG"),
    (b"\x00" * 500, 20, 30, "not a JPEG"),
    (encoded("GIF"), 20, 30, "not a JPEG"),
    (PNG, 20, 31, "photo is 20 x 30 but its record says 20 x 31"),
    (PNG[: len(PNG) // 2], 20, 30, "PNG cannot be decoded"),
    (encoded("PNG", "RGBA"), 20, 30, "PNG has pixels of the kind RGBA"),
    (encoded("PNG", "I;16"), 20, 30, "PNG has pixels of the kind I;16"),
    (claim_size(GOOD, 65000, 65000), 20, 30, "cannot be read|record says"),
    (claim_size(GOOD, 65000, 65000), 65000, 65000, "more than"),
]
