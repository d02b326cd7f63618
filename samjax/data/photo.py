"""The only place that opens photos: a file, bytes or a PIL image, to 8-bit RGB.

Grey, palette, bilevel, CMYK and other colours become RGB by PIL. Numbers of more than 8 bits follow the rule of
`samjax.data.bit_depth`. An alpha channel is dropped: the colours stored under it count, even where they are
transparent. Of a file with several pictures (a stack, an animation) the first is read. Surprising conversions are
logged once per kind.
"""

import contextlib
import enum
import io
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Integer, Shaped, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from samjax.core.errors import MachineError, UserError
from samjax.core.git_lfs import refuse_lfs_pointer
from samjax.core.machine_faults import raise_machine_fault
from samjax.core.text import printable
from samjax.data.bit_depth import BitDepthError, has_sixteen_bits, sixteen_bits, tiff_bits, to_eight_bits
from samjax.data.masks.rle import MAX_PIXELS
from samjax.data.png_header import BinaryFile, read_png_header

log = logging.getLogger(__name__)

Photo = UInt8[np.ndarray, "h w 3"]
STORED_FORMATS = ("JPEG", "PNG")
"""What records hold."""

_DEEP_GREYS = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_PHOTOMETRIC, _ORIENTATION = 262, 274
"""Tags of TIFF; EXIF has the second."""
_WHITE_IS_ZERO = 0
_TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_logged: set[str] = set()


class Orientation(enum.Enum):
    """How to treat a photo that EXIF says to turn or mirror."""

    UPRIGHT = "upright"
    """As viewers show it: what a person prompts on. PIL always reads TIFFs this way."""
    STORED = "stored"
    """As its pixels are stored: what annotations refer to."""


class PhotoError(ValueError):
    """A photo that cannot be decoded, or is not the one its record describes; the message says why."""


def read_photo(
    file: str | Path | bytes,
    *,
    name: str | None = None,
    orientation: Orientation = Orientation.UPRIGHT,
    size: tuple[int, int] | None = None,
) -> Photo:
    """Return the photo in a file of any kind that PIL reads.

        photo = read_photo("photo.jpg")  # uint8 [h w 3]

    Args:
      file: its path or its content.
      name: what errors call it; by default the path.
      orientation: which way up.
      size: the (height, width), as stored, that annotations say it has.

    Raises:
      UserError: no such file, not a picture, damaged, of another size, of more than `MAX_PIXELS`, or of numbers that
        are no shades.
    """
    name = name or ("the photo" if isinstance(file, bytes) else str(file))
    with _opened(file, name=name) as (handle, picture):
        if size is not None and (picture.height, picture.width) != size:
            raise UserError(f"{name} is {_size_text(picture)}, its annotations say {size[1]} x {size[0]}")
        upright = orientation is Orientation.UPRIGHT
        return _pixels(picture, name=name, file=handle, turned=ImageOps.exif_transpose if upright else _as_stored)


def stored_size(file: str | Path | bytes, *, name: str | None = None) -> tuple[int, int]:
    """Return the (height, width) that a photo's header says; pixels are not decoded. Arguments are `read_photo`'s.

    Raises:
      UserError: no such file, not a picture, or damaged there.
    """
    with _opened(file, name=name or ("the photo" if isinstance(file, bytes) else str(file))) as (_, picture):
        return picture.height, picture.width


def turns_quarter(file: str | Path | bytes) -> bool:
    """Return whether EXIF turns the photo in a file by a quarter, so that a viewer swaps its height and width.

    Raises:
      UserError: no such file, not a picture, or damaged there.
    """
    with _opened(file, name="the photo" if isinstance(file, bytes) else str(file)) as (_, picture):
        return _turns_quarter(picture)


def from_picture(picture: Image.Image, *, name: str) -> Photo:
    """Return the pixels of a picture that PIL holds, by the rules of `read_photo`, as they are: EXIF turns nothing.

    Raises:
      UserError: it is of more than `MAX_PIXELS`, its file is damaged, or its numbers are no shades.
    """
    with _told(name):
        return _pixels(picture, name=name, file=None, turned=_as_stored)


def check_photo(content: bytes, *, height: int, width: int, formats: tuple[str, ...] = STORED_FORMATS) -> None:
    """Raise PhotoError unless `content` says that it is a photo of `formats` and of `height` x `width`; pixels are not
    decoded."""
    _open_stored(content, height=height, width=width, formats=formats).close()


def open_photo(content: bytes, *, height: int, width: int) -> Image.Image:
    """Return the RGB photo in `content`, a JPEG or an 8-bit PNG, as stored; grey and CMYK photos are converted.

    Raises:
      PhotoError: neither, truncated, or not `height` x `width`.
    """
    with _open_stored(content, height=height, width=width, formats=STORED_FORMATS) as photo:
        try:
            return photo.convert("RGB")
        except Exception as error:  # PIL raises OSError, SyntaxError, struct.error, ... for broken files
            raise PhotoError(f"{photo.format} cannot be decoded: {error}") from error


def _open_stored(content: bytes, *, height: int, width: int, formats: tuple[str, ...]) -> Image.Image:
    """Open lazily: the size is compared before a pixel is decoded, so that a small file cannot claim a huge photo."""
    if height * width > MAX_PIXELS:
        raise PhotoError(f"photo has {height * width:,} pixels, more than {MAX_PIXELS:,}")
    expected = " or ".join(formats)
    try:
        photo = Image.open(io.BytesIO(content), formats=formats)
    except UnidentifiedImageError as error:
        raise PhotoError(f"not a {expected}") from error
    except Exception as error:  # also PIL's own bound on decompression
        raise PhotoError(f"{expected} cannot be read: {error}") from error
    if (photo.height, photo.width) != (height, width):
        raise PhotoError(f"photo is {photo.height} x {photo.width} but its record says {height} x {width}")
    if photo.format == "PNG" and photo.mode not in ("L", "RGB"):
        raise PhotoError(f"PNG has pixels of the kind {photo.mode}, but must be grey or RGB of 8 bits")
    return photo


@contextlib.contextmanager
def _opened(file: str | Path | bytes, *, name: str) -> Iterator[tuple[BinaryFile, Image.Image]]:
    """Yield the file and the picture in it, whose pixels are not decoded yet."""
    with (
        _told(name, path=None if isinstance(file, bytes) else file),
        io.BytesIO(file) if isinstance(file, bytes) else open(file, "rb") as handle,
        _open_any(handle) as picture,
    ):
        yield handle, picture


def _open_any(file: BinaryFile) -> Image.Image:
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        file.seek(0)
        if file.read(4) in _TIFFS:
            raise BitDepthError(
                "is a TIFF of a kind that PIL does not read, such as one of several channels or of colours in floats: "
                "save it as grey or RGB of 8 or 16 bits"
            ) from None
        raise


def why_unreadable(error: Exception, *, name: str) -> str:
    """Return why a library could not read the file called `name`.

    Raises:
      MachineError: the machine is at fault, as with EIO or a lack of memory; the file may be sound.
    """
    raise_machine_fault(error, what=f"{name} cannot be read")
    number = error.errno if isinstance(error, OSError) else None
    return (str(error) if number is None else os.strerror(number)) or type(error).__name__


@contextlib.contextmanager
def _told(name: str, *, path: str | Path | None = None) -> Iterator[None]:
    """Turn errors about a photo, of the file at `path` if it has one, into one sentence.

    Faults of the machine, such as EIO, are not the photo's.
    """
    try:
        yield
    except (UserError, MachineError):
        raise
    except BitDepthError as error:
        raise UserError(f"{name} {error}") from error
    except FileNotFoundError:
        raise UserError(f"{name}: no such file") from None
    except UnidentifiedImageError:
        if path is not None:
            refuse_lfs_pointer(Path(path))
        raise UserError(f"{name} is not a picture that PIL can read, such as a JPEG or PNG") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UserError(f"{name} has more than {MAX_PIXELS:,} pixels in all") from None
    except Exception as error:  # for broken files PIL raises OSError, SyntaxError, struct.error, ...
        raise UserError(f"{name} cannot be read: {why_unreadable(error, name=name)}") from error


def _pixels(
    picture: Image.Image,
    *,
    name: str,
    file: BinaryFile | None,
    turned: Callable[[Image.Image], Image.Image],
) -> Photo:
    """Return the RGB of a picture: one that PIL holds, or one in `file`, not decoded yet."""
    if picture.width * picture.height > MAX_PIXELS:  # before a pixel is decoded
        size = f"{picture.width:,} x {picture.height:,} pixels"
        raise UserError(f"{name} has {size}, more than {MAX_PIXELS:,} in all")
    if getattr(picture, "is_animated", False) and picture.format != "MPO":  # MPO: JPEGs of phones, with a preview
        _log_once("pictures", f"{name} holds several pictures, of which the first is read")
    bits = None if file is None else _bits(file, picture)
    if picture.mode in _DEEP_GREYS:
        shades = _shades(np.asarray(turned(picture)), bits=bits, name=name)
        tags = getattr(picture, "tag_v2", {})
        inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO  # PIL inverts 8 bits alone
        return np.repeat((255 - shades if inverted else shades)[..., None], 3, axis=-1)
    if has_sixteen_bits(picture):
        if file is None:
            raise UserError(f"{name} has 16 bits a channel, of which PIL keeps 8: give its path instead")
        return _sixteen_bits_as_rgb(picture, file, bits=bits, name=name, turned=turned)
    picture = turned(picture)
    if not picture.has_transparency_data:
        return np.array(picture.convert("RGB"))
    pixels = np.asarray(picture.convert("RGBA"))
    _log_transparent(pixels[..., 3], opaque=0xFF, name=name)
    return np.ascontiguousarray(pixels[..., :3])


def _sixteen_bits_as_rgb(
    picture: Image.Image,
    file: BinaryFile,
    *,
    bits: int | None,
    name: str,
    turned: Callable[[Image.Image], Image.Image],
) -> Photo:
    mode = picture.mode
    numbers = sixteen_bits(file, turned=turned)
    if mode == "RGBA":
        _log_transparent(numbers[..., 3], opaque=0xFFFF, name=name)
        numbers = np.ascontiguousarray(numbers[..., :3])
    shades = _shades(numbers, bits=bits, name=name)
    if mode != "CMYK":
        return shades
    cmyk = Image.frombytes(mode, (shades.shape[1], shades.shape[0]), shades.tobytes())
    return np.array(cmyk.convert("RGB"))


def _bits(file: BinaryFile, picture: Image.Image) -> int | None:
    """Return how many bits of each number count, where the file says so."""
    if header := read_png_header(file):
        return header.significant_bits
    bits = tiff_bits(picture)
    return bits if bits and bits < 16 else None  # 16 is what holds the numbers, whatever a camera filled of it


def _shades(numbers: Shaped[np.ndarray, "*shape"], *, bits: int | None, name: str) -> UInt8[np.ndarray, "*shape"]:
    shades = to_eight_bits(numbers, bits=bits)
    if (used := shades.guessed_bits) is not None:
        white = f"{used} bits, {2**used - 1:,} white"
        _log_once(white, f"{name} holds numbers up to {shades.highest:,} and is read as {white}")
    return shades.pixels


def _log_transparent(alpha: Integer[np.ndarray, "h w"], *, opaque: int, name: str) -> None:
    if alpha.min() < opaque:
        _log_once("alpha", f"{name} has transparent pixels: alpha is dropped, and the colours stored under it are read")


def _log_once(kind: str, sentence: str) -> None:
    if kind not in _logged:
        _logged.add(kind)
        log.warning("%s; other photos of this kind are not announced", printable(sentence))


def _turns_quarter(picture: Image.Image) -> bool:
    return picture.getexif().get(_ORIENTATION) in (5, 6, 7, 8)


def _size_text(picture: Image.Image) -> str:
    stored = " as stored (a viewer turns it, as EXIF says)" if _turns_quarter(picture) else ""
    return f"{picture.width} x {picture.height}{stored}"


def _as_stored(picture: Image.Image) -> Image.Image:
    return picture
