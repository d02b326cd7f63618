"""Photos of any kind and size into the model's frame, and prompts with them (Segment Anything, appendix A)."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from samjax.core.errors import UserError
from samjax.data.rle import MAX_PIXELS
from samjax.data.transforms import fitted_size

Photo = UInt8[np.ndarray, "h w 3"]

_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


def read_photo(path: str | Path) -> Photo:
    """Return the RGB photo in a file of any kind that PIL reads, upright.

    What EXIF says of its orientation is done, as every viewer does: prompts are given on what a person sees. Grey,
    palette and CMYK become RGB, an alpha channel is dropped, grey of 16 bits keeps its upper 8.

    Raises:
      UserError: no such file, not a picture, damaged, or of more than `MAX_PIXELS`.
    """
    try:
        with Image.open(path) as photo:
            if photo.width * photo.height > MAX_PIXELS:  # before a pixel is decoded
                raise UserError(f"{path} has {photo.width} x {photo.height} pixels, more than {MAX_PIXELS:,} in all")
            upright = ImageOps.exif_transpose(photo)
            if upright.mode in _DEEP:
                deep = np.asarray(upright).astype(np.int64)
                if upright.mode == "F" or deep.min() < 0 or deep.max() > 0xFFFF:
                    raise UserError(f"{path} holds numbers that are no grey of 8 or 16 bits; save it as such")
                upright = Image.fromarray((deep >> (8 if deep.max() > 0xFF else 0)).astype(np.uint8))
            return np.array(upright.convert("RGB"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise UserError(f"{path} is not a picture that PIL can read, such as a JPEG or PNG") from None
    except UserError:
        raise
    except Exception as error:  # for broken files PIL raises OSError, SyntaxError, struct.error, ...
        raise UserError(f"{path} cannot be read: {error or type(error).__name__}") from error


def fit_photo(photo: Photo, frame: tuple[int, int]) -> tuple[UInt8[np.ndarray, "frame_h frame_w 3"], tuple[int, int]]:
    """Return `photo` scaled to fit the top-left corner of `frame` = (h, w), zeros beside it, and its size there.

    PIL's antialiased bilinear filter, to the last bit.
    """
    size = fitted_size(height=photo.shape[0], width=photo.shape[1], frame=frame)
    fitted = Image.fromarray(photo).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    framed = np.zeros((*frame, 3), np.uint8)
    framed[: size[0], : size[1]] = np.asarray(fitted)
    return framed, size


def to_frame(
    coords: Float[np.ndarray, "*n 2"], *, photo: tuple[int, int], fitted: tuple[int, int]
) -> Float[np.ndarray, "*n 2"]:
    """Return (x, y) in pixels of a `photo` of (h, w) as pixels of the frame that it has the size `fitted` in."""
    return coords * np.array([fitted[1] / photo[1], fitted[0] / photo[0]], coords.dtype)
