"""A PNG's header: the kind of its numbers, how many bits each has, and how many of them are significant."""

import struct
from io import BufferedReader, BytesIO
from typing import NamedTuple

BinaryFile = BytesIO | BufferedReader

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 1_000
"""Before the pixels; PNGs have a dozen."""


class PngHeader(NamedTuple):
    """A PNG's numbers (PNG specification, sections 11.2.1 and 11.3.2.7)."""

    colour_type: int
    """0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    bits: int
    """Of a channel, or of an index into a palette: 1, 2, 4, 8 or 16."""
    significant_bits: int | None
    """The most that its chunk sBIT gives a channel, alpha excluded; None where it says nothing, or more than `bits`."""


def read_png_header(file: BinaryFile) -> PngHeader | None:
    """Return the header of the PNG in `file`, from its first byte; None if it is no PNG or has no header."""
    file.seek(0)
    if file.read(len(SIGNATURE)) != SIGNATURE:
        return None
    bits = colour_type = significant = 0
    for _ in range(_MOST_CHUNKS):
        start = file.read(8)
        if len(start) < 8 or start[4:] == b"IDAT":
            break
        length, name = struct.unpack(">I4s", start)
        content = file.read(min(length, 16))
        file.seek(length - len(content) + 4, 1)
        if name == b"IHDR" and len(content) > 9:
            bits, colour_type = content[8], content[9]
        elif name == b"sBIT":
            significant = max(content[: 3 if colour_type & 2 else 1], default=0)
    if not bits:
        return None
    return PngHeader(colour_type, bits, significant if 0 < significant <= bits else None)
