"""Partitions a token map into square windows and merges them again (ViTDet, section 3)."""

import einops
from jaxtyping import Array, Shaped


def windows_along(side: int, window: int) -> int:
    """Return how many windows cover `side` tokens, the last one padded."""
    return -(-side // window)


def partition(tokens: Shaped[Array, "b h w *rest"], window: int) -> Shaped[Array, "n s s *rest"]:
    """Cut into windows, [b h w ...] -> [b*windows s s ...]; sides must be multiples of `window`."""
    return einops.rearrange(tokens, "b (i s) (j t) ... -> (b i j) s t ...", s=window, t=window)


def unpartition(windows: Shaped[Array, "n s s *rest"], grid: tuple[int, int]) -> Shaped[Array, "b h w *rest"]:
    """Undo `partition` and drop the padding beyond `grid` = (h, w)."""
    height, width = grid
    rows, columns = windows_along(height, windows.shape[1]), windows_along(width, windows.shape[1])
    tokens = einops.rearrange(windows, "(b i j) s t ... -> b (i s) (j t) ...", i=rows, j=columns)
    return tokens[:, :height, :width]
