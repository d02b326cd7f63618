"""A photo of any kind -> the JPEG that its record holds.

A JPEG of 8-bit RGB without an orientation in EXIF keeps its bytes, unless it is scaled. Everything else is decoded by
`samjax.data.photo`, turned upright as EXIF says, scaled if asked for, and encoded as a JPEG of quality 95 with chroma
at half resolution and without metadata: of a photo alone nothing lies on its pixels as stored.
"""

import io
from typing import Annotated, NamedTuple

import numpy as np
from PIL import Image

from data_pipelines.jpegs import check_jpeg
from samjax.core.errors import UserError
from samjax.core.machine_faults import raise_machine_fault
from samjax.core.ranges import PIXELS, config_class
from samjax.data.photo import Orientation, PhotoError, read_photo

_QUALITY = 95
_CHROMA = "4:2:0"
_ORIENTATION = 0x0112
_Side = Annotated[int, PIXELS] | None


@config_class("")
class PhotoRules:
    """How large photos are written. None is enlarged."""

    longest_side: _Side = None
    """Photos whose longest side has more pixels are scaled down to it; None keeps their size."""
    shortest_side: _Side = None
    """Photos whose shortest side has more pixels are scaled down to it; None keeps their size."""

    def __post_init__(self):
        if self.longest_side and self.shortest_side:
            raise UserError("--longest-side and --shortest-side are both given: give one of them")

    def __str__(self) -> str:
        """Return what was chosen, in words."""
        if self.longest_side:
            return f"photos of at most {self.longest_side} pixels a side"
        if self.shortest_side:
            return f"photos whose shortest side has at most {self.shortest_side} pixels"
        return "photos as large as they are"

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) that a photo is written in."""
        limit, side = self.longest_side, max(height, width)
        if self.shortest_side:
            limit, side = self.shortest_side, min(height, width)
        if limit is None or side <= limit:
            return height, width
        return max(1, int(height * limit / side + 0.5)), max(1, int(width * limit / side + 0.5))


class JpegPhoto(NamedTuple):
    """A photo as it is written."""

    jpeg: bytes
    height: int
    width: int
    changes: tuple[str, ...]
    """Why it was encoded again, in words to count; none where the bytes are as they were."""


def to_jpeg(content: bytes, *, rules: PhotoRules, name: str) -> JpegPhoto:
    """Return the JPEG of the photo in `content`, a file of any kind that PIL reads.

    Args:
      content: the file.
      rules: how large it may be.
      name: what errors call it.

    Raises:
      PhotoError: no picture, damaged, cut short, or of too many pixels.
      MachineError: the machine fails, as without memory.
    """
    header = read_header(content, name=name)
    if header.kind == "JPEG":
        check_jpeg(content, height=header.height, width=header.width)
    upright = (header.height, header.width)[:: -1 if header.orientation in (5, 6, 7, 8) else 1]
    reasons = header.why_not_as_it_is()
    if rules.size(*upright) != upright:
        reasons.append("scaled down")
    if not reasons:
        return JpegPhoto(content, header.height, header.width, ())
    orientation = Orientation.STORED if header.orientation == 1 else Orientation.UPRIGHT
    try:
        pixels = read_photo(content, name=name, orientation=orientation)
    except UserError as error:
        raise PhotoError(str(error).removeprefix(f"{name} ")) from error
    size = rules.size(*pixels.shape[:2])
    return JpegPhoto(_encode(pixels, size), *size, tuple(reasons))


class PhotoHeader(NamedTuple):
    """What a file says of its photo before pixels are decoded, the size as stored."""

    kind: str
    mode: str
    height: int
    width: int
    orientation: int
    """As EXIF numbers it: 1 is upright."""
    is_transparent: bool
    """Whether some of its pixels may be transparent."""
    has_several: bool
    """Whether it holds several pictures."""

    def why_not_as_it_is(self) -> list[str]:
        """Return why the file is no upright JPEG of 8-bit RGB."""
        reasons = []
        if self.kind != "JPEG":
            reasons.append(self.kind)
        elif self.mode != "RGB":
            reasons.append({"L": "grey"}.get(self.mode, self.mode))
        if self.orientation != 1:
            reasons.append("turned by EXIF")
        return reasons


def read_header(content: bytes, *, name: str) -> PhotoHeader:
    """Return the header of the photo in `content`, which errors call `name`.

    Raises:
      PhotoError: it is no picture.
      MachineError: the machine fails.
    """
    try:
        with Image.open(io.BytesIO(content)) as picture:
            kind = picture.format or "unknown"
            return PhotoHeader(
                kind=kind,
                mode=picture.mode,
                height=picture.height,
                width=picture.width,
                orientation=_orientation(picture),
                is_transparent=picture.has_transparency_data,
                has_several=getattr(picture, "is_animated", False),
            )
    except Exception as error:  # PIL raises many types for broken files
        raise_machine_fault(error, what=f"{name} cannot be read")
        raise PhotoError("is not a picture that PIL can read, such as a JPEG or PNG") from error


def _orientation(picture: Image.Image) -> int:
    """Return the orientation that EXIF says, 1 where it says none or cannot be read: some cameras write it broken."""
    try:
        found = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # PIL raises many types
        return 1
    return found if found in range(2, 9) else 1


def _encode(pixels: np.ndarray, size: tuple[int, int]) -> bytes:
    picture = Image.fromarray(pixels)
    if size != pixels.shape[:2]:
        picture = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=_QUALITY, subsampling=_CHROMA)
    return file.getvalue()
