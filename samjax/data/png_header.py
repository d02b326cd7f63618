"""What a PNG says of its numbers before its pixels: how many bits a channel has, and how many of them matter."""

import struct
from io import BufferedReader, BytesIO
from typing import NamedTuple

BinaryFile = BytesIO | BufferedReader

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 1_000
"""Before the pixels; PNGs have a dozen."""


class PngHeader(NamedTuple):
    """The bits of a PNG's numbers (PNG specification, sections 11.2.1 and 11.3.2.7)."""

    bits: int
    """Of a channel, or of an index into a palette: 1, 2, 4, 8 or 16."""
    significant_bits: int | None
    """The most that its chunk sBIT gives a channel, alpha excluded; None where it says nothing, or more than `bits`."""


def read_png_header(file: BinaryFile) -> PngHeader | None:
    """Return the header of the PNG in `file`, from its first byte; None if it is no PNG or has no header."""
    file.seek(0)
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        return None
    bits, channels, significant = 0, 1, 0
    for _ in range(_MOST_CHUNKS):
        start = file.read(8)
        if len(start) < 8 or start[4:] == b"IDAT":
            break
        length, name = struct.unpack(">I4s", start)
        content = file.read(min(length, 16))
        file.seek(length - len(content) + 4, 1)
        if name == b"IHDR" and len(content) > 9:
            bits, channels = content[8], 3 if content[9] & 2 else 1
        elif name == b"sBIT":
            significant = max(content[:channels], default=0)
    return PngHeader(bits, significant if significant and significant <= bits else None) if bits else None
