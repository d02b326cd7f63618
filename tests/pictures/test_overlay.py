import numpy as np
import pytest
from PIL import Image, ImageDraw

from samjax.pictures.colours import BACKGROUND, BOX, FOREGROUND
from samjax.pictures.overlay import draw_box, draw_point, outline, overlay, point_colour


@pytest.fixture
def mask():
    mask = np.zeros((20, 30), bool)
    mask[4:14, 6:26] = True
    return mask


def test_the_photo_shows_through_inside_and_outside(mask):
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    painted = overlay(photo, mask, (255, 0, 0)).astype(int)
    assert (painted[mask][:, 0] > painted[mask][:, 1]).all()
    for part in (mask, ~mask):
        rank = np.corrcoef(painted[part][:, 1], photo[part][:, 1])[0, 1]
        assert rank > 0.99


@pytest.mark.parametrize("width", [1, 2, 3])
def test_an_outline_lies_inside_its_mask(mask, width):
    lines = outline(np.zeros((20, 30, 3), np.uint8), mask, (1, 2, 3), width=width)
    inner = np.zeros_like(mask)
    inner[4 + width : 14 - width, 6 + width : 26 - width] = True
    np.testing.assert_array_equal(lines[..., 1] == 2, mask & ~inner)
    assert not lines[~(mask & ~inner)].any()


def test_points_show_on_any_ground():
    for shade in (0, 255):
        picture = Image.new("RGB", (40, 40), (shade,) * 3)
        draw_point(ImageDraw.Draw(picture), (20.0, 20.0), point_colour(True), radius=8.0)
        pixels = np.asarray(picture)
        assert tuple(pixels[20, 20]) == FOREGROUND
        assert (np.ptp(pixels.reshape(-1, 3), axis=0) == 255).any(), "white ring, dark rim"
        assert pixels[20, 13].min() == 255
        assert pixels[20, 11].max() == 0
    assert point_colour(False) == BACKGROUND


def test_a_box_lies_on_its_corners():
    picture = Image.new("RGB", (60, 40), (128, 128, 128))
    draw_box(ImageDraw.Draw(picture), (10.0, 8.0, 50.0, 30.0), BOX, width=2)
    pixels = np.asarray(picture)
    for y, x in ((8, 10), (30, 50), (8, 30), (20, 10)):
        assert tuple(pixels[y, x]) == BOX
    assert pixels[7, 30].max() == 0
    assert pixels[10, 30].max() == 0
    assert pixels[6, 30].min() == 128
    assert pixels[20, 30].min() == 128
