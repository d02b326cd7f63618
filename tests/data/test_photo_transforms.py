import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.batches import unpack_masks
from samjax.data.masks import packing as transforms

SIZES = [(480, 640), (640, 480), (1500, 2250), (333, 334), (1, 5000), (100, 100), (37, 53)]
FRAMES = [(256, 256), (1024, 1024), (256, 320), (96, 64)]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_fitted_photo_touches_the_frame_and_keeps_its_shape(height, width, frame):
    fitted = transforms.fitted_size(height=height, width=width, frame=frame)
    scale = min(frame[0] / height, frame[1] / width)
    assert fitted == (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
    assert fitted[0] <= frame[0]
    assert fitted[1] <= frame[1]
    assert fitted[0] == frame[0] or fitted[1] == frame[1]


def test_half_a_pixel_rounds_up():
    """round() would give 2 for 2.5: the release rounds as int(x + 0.5)."""
    assert transforms.fitted_size(height=5, width=128, frame=(64, 64)) == (3, 64)


@pytest.mark.parametrize(
    ("source", "target"), [(640, 256), (256, 640), (1500, 1024), (7, 7), (5, 1), (1, 5), (333, 97)]
)
def test_nearest_positions_are_pixel_centres(source, target):
    exact = np.floor((np.arange(target) + 0.5) * (source / target) + 1e-9).astype(int)
    positions = transforms.nearest_positions(source=source, target=target)
    np.testing.assert_array_equal(positions, exact)
    if source == target:
        np.testing.assert_array_equal(positions, np.arange(target))


def test_a_resized_mask_takes_rows_and_columns_apart():
    mask = np.random.default_rng(0).random((30, 50)) < 0.5
    resized = transforms.resize_mask(mask, size=(12, 77))
    for row in range(12):
        for column in range(77):
            assert resized[row, column] == mask[int((row + 0.5) * 30 / 12), int((column + 0.5) * 50 / 77)]


@pytest.mark.parametrize("frame", [(16, 24), (16, 21), (9, 33)])
def test_packed_masks_unpack_on_device(frame):
    mask = np.random.default_rng(0).random((9, 19)) < 0.5
    packed = transforms.pack_mask(mask, frame=frame)
    unpacked = np.asarray(unpack_masks(jnp.asarray(packed[None]), frame[1])[0])
    np.testing.assert_array_equal(unpacked[:9, :19], mask)
    assert unpacked.shape == frame
    assert unpacked.sum() == mask.sum()
