"""PyTorch's bilinear resize in NumPy, for tests that run without PyTorch."""

import numpy as np


def bilinear(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return float32 `values` [... h w] at `size`, as `interpolate(mode="bilinear", align_corners=False)` does.

    Half-pixel centres, borders repeated, no antialias. `tests/parity/test_operations_in_torch.py` compares the two.
    """
    for axis, new in ((-1, size[1]), (-2, size[0])):
        old = values.shape[axis]
        scale = np.float64(np.float32(old) / np.float32(new))
        centres = np.maximum(scale * (np.arange(new) + 0.5) - 0.5, 0).astype(np.float32)  # rounded once, as by an FMA
        before = centres.astype(int)
        after = np.minimum(before + 1, old - 1)
        share = centres - before.astype(np.float32)
        share = share if axis == -1 else share[:, None]
        values = values.take(before, axis) * (1 - share) + values.take(after, axis) * share
    return values


def through_frame(
    logits: np.ndarray, *, frame: tuple[int, int], fitted: tuple[int, int], photo: tuple[int, int]
) -> np.ndarray:
    """Return a mask's logits [h w] at the photo's size, in the released code's two steps.

    First to the model's frame; then the corner of it that the photo fills, to the photo's size.
    """
    return bilinear(bilinear(logits, frame)[: fitted[0], : fitted[1]], photo)
