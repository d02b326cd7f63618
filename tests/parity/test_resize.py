"""Tables and kernels at another size: PyTorch's interpolation, in float64, and a patch embedding that sees the same."""

import numpy as np
import pytest
import torch

from samjax.nn.resize import resize_kernel, resize_positions, resize_relative


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("old", "new"), [((14, 14), (64, 64)), ((16, 16), (9, 20)), ((2, 3), (7, 1))])
def test_positions_are_resized_as_pytorch_does(old, new):
    table = drawn(*old, 5)
    channels_first = torch.tensor(table).double().permute(2, 0, 1)[None]
    expected = torch.nn.functional.interpolate(channels_first, size=new, mode="bicubic", align_corners=False)
    np.testing.assert_allclose(resize_positions(table, new), expected[0].permute(1, 2, 0), rtol=1e-6)


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
