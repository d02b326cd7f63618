"""Partitions a token map into square windows and merges them again (ViTDet, section 3; Swin; HRFormer)."""

import enum

import einops
import jax.numpy as jnp
from jaxtyping import Array, Shaped


class Padding(enum.Enum):
    """Where a map whose sides are no multiples of the window is padded."""

    AFTER = "after"
    """Below and on the right (ViTDet; Swin)."""
    CENTRED = "centred"
    """Half on each side; an odd row or column below and on the right (HRFormer)."""


def windows_along(side: int, window: int) -> int:
    """Return how many windows cover `side` tokens, the last one padded."""
    return -(-side // window)


def padding_along(side: int, window: int, padding: Padding) -> tuple[int, int]:
    """Return how many tokens of padding come before and after `side` tokens."""
    missing = windows_along(side, window) * window - side
    before = missing // 2 if padding is Padding.CENTRED else 0
    return before, missing - before


def pad_to_windows(
    tokens: Shaped[Array, "b h w *rest"],
    window: int,
    *,
    fill: Shaped[Array, "*rest"],
    padding: Padding = Padding.AFTER,
) -> Shaped[Array, "b hp wp *rest"]:
    """Pad a map with the token `fill` until its sides are multiples of `window`."""
    amounts = [padding_along(side, window, padding) for side in tokens.shape[1:3]]
    if not any(map(any, amounts)):
        return tokens
    frame, rest = [(0, 0), *amounts], tokens.ndim - 3
    inside = jnp.pad(jnp.ones(tokens.shape[:3], bool), frame)[(..., *(None,) * rest)]
    return jnp.where(inside, jnp.pad(tokens, [*frame, *((0, 0),) * rest]), fill)


def partition(tokens: Shaped[Array, "b h w *rest"], window: int) -> Shaped[Array, "n s s *rest"]:
    """Cut into windows, [b h w ...] -> [b*windows s s ...]; sides must be multiples of `window`."""
    return einops.rearrange(tokens, "b (i s) (j t) ... -> (b i j) s t ...", s=window, t=window)


def unpartition(
    windows: Shaped[Array, "n s s *rest"], grid: tuple[int, int], *, padding: Padding = Padding.AFTER
) -> Shaped[Array, "b h w *rest"]:
    """Undo `partition` and drop the padding around `grid` = (h, w)."""
    window, (height, width) = windows.shape[1], grid
    rows, columns = windows_along(height, window), windows_along(width, window)
    tokens = einops.rearrange(windows, "(b i j) s t ... -> b (i s) (j t) ...", i=rows, j=columns)
    top, left = padding_along(height, window, padding)[0], padding_along(width, window, padding)[0]
    return tokens[:, top : top + height, left : left + width]
