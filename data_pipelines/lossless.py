"""A photo of any kind -> what its record holds, without a change to a pixel that masks lie on.

A JPEG keeps its bytes, and so does a PNG of 8-bit grey or RGB. Everything else is read by the rules of
`samjax.data.photo` and stored as a PNG of 8 bits: alpha is dropped, more than 8 bits are scaled, of several pictures
the first counts, and a photo without colour is stored as grey. Pixels are taken as stored, whatever EXIF says of their
orientation: masks are drawn on them so. What EXIF turns is stored again without EXIF, so that no reader turns it.
"""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from data_pipelines.jpegs import check_jpeg
from data_pipelines.photo_jpegs import PhotoHeader, read_header
from samjax.core.errors import UserError
from samjax.data.photo import Orientation, Photo, PhotoError, open_photo, read_photo
from samjax.data.png_header import read_png_header

_PALETTE = 3
"""A PNG's type of colour."""


class StoredPhoto(NamedTuple):
    """A photo as a record holds it."""

    content: bytes
    """A JPEG, or a PNG of 8-bit grey or RGB."""
    changes: tuple[str, ...]
    """Why it was encoded again, in words to count; none where the bytes are as they were."""


def store_photo(content: bytes, *, height: int, width: int, name: str) -> StoredPhoto:
    """Return what the record of a photo holds.

    Args:
      content: the photo's file, of any kind that PIL reads.
      height: of the photo as stored; as is `width`.
      width: see `height`.
      name: what errors call it.

    Raises:
      PhotoError: no picture, damaged, cut short, of another size, or of numbers that are no shades.
      MachineError: the machine fails, as without memory.
    """
    header = read_header(content, name=name)
    reasons = _reasons(content, header)
    if not reasons:
        if header.kind == "PNG":
            open_photo(content, height=height, width=width).close()  # decodes it all
        else:
            check_jpeg(content, height=height, width=width)
        return StoredPhoto(content, ())
    try:
        pixels = read_photo(content, name=name, orientation=Orientation.STORED, size=(height, width))
    except UserError as error:
        raise PhotoError(str(error).removeprefix(f"{name} ")) from error
    if pixels.shape[:2] != (height, width):
        raise PhotoError(f"is read as {pixels.shape[1]} x {pixels.shape[0]}, its annotations say {width} x {height}")
    return StoredPhoto(_encode(pixels), tuple(reasons))


def _reasons(content: bytes, header: PhotoHeader) -> list[str]:
    """Return why the file cannot be stored as it is."""
    turned = ["turned by EXIF"] if header.orientation != 1 else []
    if header.kind in ("JPEG", "MPO"):  # MPO: a JPEG with a preview behind it
        return turned
    if header.kind != "PNG":
        return [header.kind, *turned]
    png = read_png_header(io.BytesIO(content))
    if png is None:
        return turned
    reasons = []
    if png.colour_type == _PALETTE:
        reasons.append("palette")
    elif png.bits != 8:
        reasons.append("1 bit" if png.bits == 1 else f"{png.bits} bits")
    if header.is_transparent:
        reasons.append("alpha dropped")
    if header.has_several:
        reasons.append("several pictures")
    return [*reasons, *turned]


def _encode(pixels: Photo) -> bytes:
    is_grey = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels[..., 0]) if is_grey else pixels).save(file, format="PNG")
    return file.getvalue()
