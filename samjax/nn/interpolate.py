"""Maps and logits resized as PyTorch's `interpolate` does it, without antialiasing.

`jax.image.resize` has neither aligned corners nor PyTorch's cubic nor its nearest pixel.
"""

import enum

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Method(enum.Enum):
    """How a pixel between pixels is made."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    """With a = -0.75, as PyTorch and OpenCV have it."""
    NEAREST = "nearest"
    """The pixel of index floor(i n / m), as PyTorch's `nearest`; not the one whose centre is nearest."""


def interpolate(
    maps: Float[Array, "b h w c"],
    size: tuple[int, int],
    *,
    method: Method = Method.BILINEAR,
    align_corners: bool = False,
) -> Float[Array, "b th tw c"]:
    """Return maps resized to `size` = (height, width), in their own dtype.

    Args:
      maps: any; each side is resized on its own.
      size: of the result.
      method: see `Method`.
      align_corners: the centres of the corners' pixels stay in place, instead of the corners themselves.
    """
    if maps.shape[1:3] == size:
        return maps
    if method is Method.NEAREST:
        rows, columns = (np.arange(new) * old // new for old, new in zip(maps.shape[1:3], size, strict=True))
        return maps[:, rows][:, :, columns]
    rows, columns = (
        jnp.asarray(matrix(old, new, method=method, align_corners=align_corners), maps.dtype)
        for old, new in zip(maps.shape[1:3], size, strict=True)
    )
    return jnp.einsum("tw,bhwc->bhtc", columns, jnp.einsum("th,bhwc->btwc", rows, maps))


def matrix(old: int, new: int, *, method: Method, align_corners: bool = False) -> Float[np.ndarray, "new old"]:
    """Return the matrix from `old` pixels in a row to `new`; beyond the border the last one is repeated."""
    weight, reach = {Method.BILINEAR: (_tent, 1), Method.BICUBIC: (_cubic, 2)}[method]
    if align_corners:
        centres = np.arange(new) * ((old - 1) / max(new - 1, 1))
    else:
        centres = (np.arange(new) + 0.5) * old / new - 0.5
        if method is Method.BILINEAR:
            centres = np.clip(centres, 0, old - 1)
    found = np.zeros((new, old))
    first = np.floor(centres).astype(int)
    for offset in range(1 - reach, 1 + reach):
        index = np.clip(first + offset, 0, old - 1)
        np.add.at(found, (np.arange(new), index), weight(np.abs(centres - first - offset)))
    return found


def _tent(distance: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    return 1 - distance


def _cubic(distance: Float[np.ndarray, "n"], a: float = -0.75) -> Float[np.ndarray, "n"]:
    """Keys's convolution kernel, up to a distance of 2."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return np.where(distance <= 1, near, far)
