"""The JPEG that is stored of a photo when masks are made on it: its pixels as viewers show them."""

import io
from pathlib import Path

from PIL import ExifTags, Image

from samjax.data.photo import Photo, read_photo

_QUALITY = 95


def upright_jpeg(file: Path | bytes, photo: Photo | None = None) -> bytes:
    """Return the file's own bytes if they are a whole JPEG that EXIF does not turn, else the photo encoded.

    Masks lie on the pixels as stored, so no EXIF may turn these.

    Args:
      file: the photo's, or its content.
      photo: its pixels, upright, if they have been read already.

    Raises:
      UserError: it has to be read and cannot be.
      OSError: the file cannot be read.
    """
    content = file if isinstance(file, bytes) else file.read_bytes()
    with Image.open(io.BytesIO(content)) as opened:
        turned = opened.getexif().get(ExifTags.Base.Orientation, 1) != 1
        whole = opened.format == "JPEG" and content.rstrip(b"\0").endswith(b"\xff\xd9")
    if whole and not turned:
        return content
    encoded = io.BytesIO()
    pixels = read_photo(file) if photo is None else photo
    Image.fromarray(pixels).save(encoded, format="JPEG", quality=_QUALITY)
    return encoded.getvalue()
