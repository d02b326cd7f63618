"""Tables and kernels at another size: PyTorch's interpolation, in float64, and a patch embedding that sees the same."""

import numpy as np
import pytest
import torch

from samjax.nn.interpolate import Method
from samjax.nn.resize import resize_kernel, resize_position_rows, resize_positions, resize_relative


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("method", [Method.BICUBIC, Method.BILINEAR])
@pytest.mark.parametrize(("old", "new"), [((14, 14), (64, 64)), ((16, 16), (9, 20)), ((2, 3), (7, 1))])
def test_positions_are_resized_as_pytorch_does(old, new, method):
    table = drawn(*old, 5)
    channels_first = torch.tensor(table).double().permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(channels_first, size=new, mode=method.value, align_corners=False)
    expected = expected[0].permute(1, 2, 0)
    np.testing.assert_allclose(resize_positions(table, new, method=method), expected, rtol=1e-6)
    rows = np.concatenate([drawn(2, 5) + 1, table.reshape(-1, 5)])
    resized = resize_position_rows(rows, old, new, method=method)
    np.testing.assert_array_equal(resized[:2], rows[:2])
    np.testing.assert_allclose(resized[2:], expected.reshape(-1, 5), rtol=1e-6)


def test_positions_are_resized_bicubically_unless_said_otherwise():
    """SAM's are; a table resized by the other method is off by a tenth."""
    table = drawn(14, 14, 5)
    np.testing.assert_array_equal(
        resize_positions(table, (20, 20)), resize_positions(table, (20, 20), method=Method.BICUBIC)
    )
    assert (
        np.abs(resize_positions(table, (20, 20)) - resize_positions(table, (20, 20), method=Method.BILINEAR)).max()
        > 0.1
    )


@pytest.mark.parametrize(("old", "new"), [(27, 127), (127, 27), (9, 31)])
def test_relative_tables_are_resized_as_pytorch_does(old, new):
    table = drawn(old, 5)
    expected = torch.nn.functional.interpolate(torch.tensor(table).double().T[None], size=new, mode="linear")
    np.testing.assert_allclose(resize_relative(table, new), expected[0].T, rtol=1e-6)


def test_the_same_size_is_the_same_bit_for_bit():
    np.testing.assert_array_equal(resize_positions(drawn(5, 7, 3), (5, 7)), drawn(5, 7, 3))
    np.testing.assert_array_equal(resize_relative(drawn(9, 3), 9), drawn(9, 3))
    np.testing.assert_array_equal(resize_kernel(drawn(4, 3, 14, 14), 14), drawn(4, 3, 14, 14))


@pytest.mark.parametrize("patch", [8, 14])
def test_a_larger_kernel_sees_of_an_enlarged_patch_what_the_old_one_saw(patch):
    kernel, patches = drawn(6, 3, patch, patch), drawn(20, 3, patch, patch)[::-1].copy()
    enlarged = torch.nn.functional.interpolate(torch.tensor(patches), size=(16, 16), mode="bilinear").numpy()
    seen = np.einsum("oihw,nihw->no", resize_kernel(kernel, 16), enlarged)
    np.testing.assert_allclose(seen, np.einsum("oihw,nihw->no", kernel, patches), atol=1e-4)
