"""A number for each pixel of a photo, as the PNG that a record keeps of it."""

import io

import numpy as np
from jaxtyping import Integer, Shaped
from PIL import Image

from samjax.data.masks.rle import check_size
from samjax.data.records.schema import RecordError


def encode_map(numbers: Integer[np.ndarray, "h w"]) -> bytes:
    """Return numbers from 0 to 2^16 - 1 as a grey PNG of 8 bits where they fit, else of 16."""
    narrow = numbers.max(initial=0) < 2**8
    return encode_png(Image.fromarray(numbers.astype(np.uint8 if narrow else np.uint16)))


def encode_png(picture: Image.Image) -> bytes:
    """Return a picture as a PNG."""
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()


def decode_map(png: bytes, *, name: str) -> Shaped[np.ndarray, "h w *channels"]:
    """Return the numbers of a PNG.

    Raises:
      RecordError: `name`, such as "the depth map", is damaged, or larger than any photo.
    """
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
            check_size(picture.height, picture.width)
            return np.asarray(picture)
    except Exception as error:  # for broken files PIL raises OSError, SyntaxError, struct.error, ...
        raise RecordError(f"{name} cannot be read ({error})") from error


def check_map(numbers: Shaped[np.ndarray, "..."], photo: tuple[int, int], *, name: str) -> None:
    """Refuse a map of another size than the (height, width) of its photo.

    Raises:
      RecordError: names both sizes.
    """
    if numbers.shape != photo:
        sides = " x ".join(map(str, numbers.shape))
        raise RecordError(f"{name} is {sides}, its photo {photo[0]} x {photo[1]}")
