"""Photos that a caller gives, and prompts with them, into the model's frame (Segment Anything, appendix A)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from samjax.core.errors import UserError
from samjax.data.masks.packing import fitted_size
from samjax.data.masks.rle import MAX_PIXELS
from samjax.data.photo import Photo, from_picture, read_photo


def as_photos(images) -> list[Photo]:
    """Return the photos that a caller gives as RGB arrays.

    Args:
      images: a list of photos, or an array of them (n, h, w, 3). Each is an array, uint8 of shape (h, w, 3); a picture
        of PIL's, whose pixels are taken as it holds them and converted as `samjax.data.photo` says; or the path of a
        file, which `read_photo` reads upright.

    Raises:
      UserError: `images` is one photo and no list, or an entry, named by its place, is no photo.
    """
    is_one = isinstance(images, (str, bytes, Path)) or (hasattr(images, "dtype") and images.ndim != 4)
    if is_one or not isinstance(images, Iterable):
        raise UserError(f"images is {_described(images)}, expected several photos: give a list, [image]")
    return [_as_photo(image, name=f"image {index}") for index, image in enumerate(images)]


def _as_photo(image: Any, *, name: str) -> Photo:
    if isinstance(image, (str, Path)):
        return read_photo(image)
    if isinstance(image, Image.Image):
        return from_picture(image, name=name)
    shape = tuple(getattr(image, "shape", ()))
    if getattr(image, "dtype", None) != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise UserError(
            f"{name} is {_described(image)}, expected RGB: uint8 of shape (h, w, 3), a picture of PIL's or a path"
        )
    if shape[0] * shape[1] > MAX_PIXELS:
        raise UserError(f"{name} has {shape[1]:,} x {shape[0]:,} pixels, more than {MAX_PIXELS:,} in all")
    return np.asarray(image)


def _described(image: Any) -> str:
    if hasattr(image, "dtype"):
        return f"{image.dtype} of shape {tuple(image.shape)}"
    return f"of type {type(image).__name__}"


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
