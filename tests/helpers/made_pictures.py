"""PNGs and TIFFs of kinds that PIL does not write, of known numbers."""

import struct
import zlib

import numpy as np

GREY, RGB, GREY_ALPHA, RGB_ALPHA = 0, 2, 4, 6
"""Kinds of colour of a PNG."""


def png(
    numbers: np.ndarray,
    *,
    bits: int,
    colour: int = GREY,
    chunks: dict[bytes, bytes] | None = None,
    claims: tuple[int, int] | None = None,
) -> bytes:
    """Return a PNG of numbers [h w] or [h w channels] of 1, 2, 4, 8 or 16 bits, with more chunks before its pixels.

    Its header can claim another (height, width).
    """
    height, width = numbers.shape[:2]
    if bits < 8:
        apart = np.unpackbits(numbers.astype(np.uint8)[..., None], axis=-1)[..., 8 - bits :]
        rows = np.packbits(apart.reshape(height, -1), axis=-1)
    else:
        rows = numbers.reshape(height, -1).astype(">u2" if bits == 16 else "u1").view(np.uint8)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", *(claims or (height, width))[::-1], bits, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *(chunks or {}).items(), (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def tiff(numbers: np.ndarray, *, bits: int, photometric: int = 1, planes: bool = False, pictures: int = 1) -> bytes:
    """Return an uncompressed TIFF of whole numbers, 12 bits packed; `photometric` 0 is grey whose 0 is white, 2 RGB."""
    height, width, *channels = numbers.shape
    count = channels[0] if channels else 1
    parts = [numbers[..., channel] for channel in range(count)] if planes else [numbers]
    strips = [_packed(part, bits) for part in parts]
    content = b"II*\0" + struct.pack("<I", 8 + sum(map(len, strips))) + b"".join(strips)
    ends = np.cumsum([8, *map(len, strips)])
    for place in range(pictures):
        at = len(content)
        arrays = {258: ("H", [bits] * count), 273: ("I", ends[:-1].tolist()), 279: ("I", [len(one) for one in strips])}
        tags = {256: width, 257: height, 259: 1, 262: photometric, 277: count, 278: height, 284: 2 if planes else 1}
        beyond, entries = b"", []
        for tag in sorted({*arrays, *tags}):
            kind, values = arrays.get(tag, ("I", [tags.get(tag)]))
            data = struct.pack(f"<{len(values)}{kind}", *values)
            if len(data) > 4:
                data, beyond = struct.pack("<I", at + 6 + 12 * 10 + len(beyond)), beyond + data
            entries.append(struct.pack("<HHI", tag, {"H": 3, "I": 4}[kind], len(values)) + data.ljust(4, b"\0"))
        after = at + 6 + 12 * 10 + len(beyond) if place + 1 < pictures else 0
        content += struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", after) + beyond
    return content


def _packed(numbers: np.ndarray, bits: int) -> bytes:
    if bits != 12:
        return numbers.astype(f"<u{bits // 8}").tobytes()
    apart = np.unpackbits(numbers.astype(">u2")[..., None].view(np.uint8), axis=-1).reshape(*numbers.shape, 16)[..., 4:]
    return np.packbits(apart.reshape(numbers.shape[0], -1), axis=-1).tobytes()
