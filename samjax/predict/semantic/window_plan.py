"""Where sliding windows lie."""


def window_starts(side: int, window: int, stride: int) -> list[int]:
    """Return where windows begin along a side: every `stride` pixels, the last one moved back so that it fits.

    Each window is there once; a side shorter than the window has one, at 0.
    """
    last = max(side - window, 0)
    return [*range(0, last, stride), last]


def window_corners(size: tuple[int, int], window: tuple[int, int], stride: int | None) -> list[tuple[int, int]]:
    """Return the (top, left) of the windows over a photo of `size`; `stride` None is two thirds of the window."""
    rows, columns = (
        window_starts(side, part, stride or max(1, part * 2 // 3)) for side, part in zip(size, window, strict=True)
    )
    return [(top, left) for top in rows for left in columns]
