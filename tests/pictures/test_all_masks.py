import colorsys

import numpy as np
import pytest

from samjax.data.masks import rle
from samjax.pictures.all_masks import draw_all_masks
from samjax.pictures.colours import mask_colour
from samjax.pictures.photo_sheet import FoundMasks, PhotoRow, draw_photo_sheet

PHOTO = np.full((60, 80, 3), 200, np.uint8)


def run_lengths(rows: slice, columns: slice) -> str:
    mask = np.zeros(PHOTO.shape[:2], bool)
    mask[rows, columns] = True
    return rle.encode(mask)["counts"]


LARGE, SMALL = run_lengths(np.s_[5:55], np.s_[5:70]), run_lengths(np.s_[20:40], np.s_[20:40])


def hue(pixel: np.ndarray) -> float:
    return colorsys.rgb_to_hsv(*(pixel / 255).tolist())[0]


@pytest.mark.parametrize("masks", [[LARGE, SMALL], [SMALL, LARGE]])
def test_small_masks_lie_over_large_ones_each_in_its_colour(masks):
    picture = draw_all_masks(PHOTO, masks)
    assert picture.shape == (120, 160, 3), "small photos are shown at twice their size"
    for place, pixel in enumerate((picture[90, 120], picture[60, 60])):
        assert hue(pixel) == pytest.approx(hue(np.array(mask_colour(place))), abs=0.02)
    assert np.ptp(picture[115, 155]) == 0, "what no mask covers is grey"


def test_areas_order_the_masks():
    """So that what was found of an object has the object's colour."""
    np.testing.assert_array_equal(
        draw_all_masks(PHOTO, [SMALL, LARGE], areas=[9.0, 1.0]), draw_all_masks(PHOTO, [LARGE, SMALL], areas=[1.0, 9.0])
    )
    assert (draw_all_masks(PHOTO, [SMALL, LARGE], areas=[9.0, 1.0]) != draw_all_masks(PHOTO, [SMALL, LARGE])).any()


def test_no_masks_give_a_grey_photo():
    assert (np.ptp(draw_all_masks(PHOTO, []), axis=-1) == 0).all()


def test_a_large_photo_is_reduced():
    assert draw_all_masks(np.zeros((100, 3200, 3), np.uint8), []).shape == (50, 1600, 3)


def test_a_photo_sheet_shows_what_was_found_in_the_colour_of_its_object():
    row = PhotoRow(
        photo=PHOTO,
        name="a.jpg",
        objects=[SMALL, LARGE],
        predictions=[FoundMasks(masks=[SMALL, LARGE], caption="all"), FoundMasks(masks=[SMALL, None], caption="one")],
    )
    sheet = draw_photo_sheet([row])
    left = (sheet.shape[1] - 4 * 320) // 5
    _, objects, found, one = (sheet[-240 - left : -left, x : x + 320] for x in range(left, 4 * 328, 320 + left))
    np.testing.assert_array_equal(objects, found)
    np.testing.assert_array_equal(objects[90:150, 90:150], one[90:150, 90:150])
    assert np.ptp(one[200, 240]) == 0
    assert np.ptp(objects[200, 240]) > 0
