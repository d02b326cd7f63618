"""Crops follow the law of MAE's code, and their pixels are PIL's."""

import io
import math

import numpy as np
import pytest
from broken_photos import BROKEN
from PIL import Image
from shards import jpeg

from samjax.core.errors import UserError
from samjax.data.crop import Crop, CropRules, central_crop, cut, random_crop
from samjax.data.frame import Decoding
from samjax.data.photo import PhotoError

MAE = CropRules()
DRAWS = 4000


def opened(data):
    with Image.open(io.BytesIO(data)) as photo:
        return photo.convert("RGB")


def within(mean, expected, deviation):
    """Whether a mean of DRAWS draws is within four standard errors."""
    return abs(mean - expected) < 4 * deviation / math.sqrt(DRAWS)


def test_areas_and_aspects_follow_the_law():
    """On a large square all tries fit but those that are wide and nearly whole, so areas up to 0.7 are uniform."""
    photo = (2000, 2000)
    rng = np.random.default_rng(0)
    crops = [MAE.draw(rng, photo=photo) for _ in range(DRAWS)]
    areas = np.array([crop.height * crop.width for crop in crops]) / (photo[0] * photo[1])
    aspects = np.log([crop.width / crop.height for crop in crops])
    assert 0.199 < areas.min() < 0.205
    assert areas.max() <= 1
    assert np.abs(aspects).max() < math.log(4 / 3) + 0.002
    free = areas < 0.7  # whatever the aspect up to 4/3, it fits
    low = areas[free]
    assert abs(low.mean() - 0.45) < 4 * 0.5 / math.sqrt(12 * free.sum())
    assert abs(aspects[free].mean()) < 4 * 2 * math.log(4 / 3) / math.sqrt(12 * free.sum())
    assert abs(aspects[free].std() - 2 * math.log(4 / 3) / math.sqrt(12)) < 0.01
    for axis, side in enumerate(("height", "width")):
        spare = np.array([photo[axis] - getattr(crop, side) for crop in crops])
        start = np.array([getattr(crop, ("top", "left")[axis]) for crop in crops])
        assert (start <= spare).all()
        assert within((start[spare > 0] / spare[spare > 0]).mean(), 0.5, 0.3)
    assert within(np.mean([crop.flip for crop in crops]), 0.5, 0.5)


@pytest.mark.parametrize("photo", [(1, 1), (1, 7), (7, 1), (2, 3), (10, 1000), (1000, 10), (37, 53)])
def test_a_crop_lies_in_its_photo(photo):
    rng = np.random.default_rng(0)
    for _ in range(200):
        crop = MAE.draw(rng, photo=photo)
        assert crop.height >= 1
        assert crop.width >= 1
        assert 0 <= crop.top <= photo[0] - crop.height
        assert 0 <= crop.left <= photo[1] - crop.width


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        ((30, 3000), Crop(top=0, left=1480, height=30, width=40)),  # 4/3 of its height
        ((3000, 30), Crop(top=1480, left=0, height=40, width=30)),
        ((100, 110), Crop(top=0, left=0, height=100, width=110)),
    ],
)
def test_where_no_try_fits_the_largest_central_crop_is_taken(photo, expected):
    rules = CropRules(area=(1.0, 1.0), aspect=(0.75, 4 / 3), tries=3, flip_probability=0.0)
    assert {rules.draw(np.random.default_rng(seed), photo=photo) for seed in range(9)} == {expected}


def test_all_of_the_photo_without_flip_is_the_whole_photo():
    rules = CropRules(area=(1.0, 1.0), aspect=(1.0, 1.0), flip_probability=0.0)
    assert rules.draw(np.random.default_rng(0), photo=(64, 64)) == Crop(top=0, left=0, height=64, width=64)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(
    ("photo", "crop"), [((60, 90), (3, 11, 40, 33)), ((60, 90), (0, 0, 60, 90)), ((7, 9), (6, 8, 1, 1))]
)
def test_a_crop_is_pil_resize_of_its_box(photo, crop, mirrored):
    data = jpeg(*photo)
    top, left, height, width = crop
    given = Crop(top=top, left=left, height=height, width=width, flip=mirrored)
    found = cut(data, given, photo=photo, size=(32, 48))
    box = (left, top, left + width, top + height)
    expected = np.asarray(opened(data).resize((48, 32), Image.Resampling.BICUBIC, box=box))
    np.testing.assert_array_equal(found, expected[:, ::-1] if mirrored else expected)


def test_a_random_crop_is_a_function_of_photo_and_generator():
    data = jpeg(60, 90)
    first, again, other = (
        random_crop(data, np.random.default_rng(seed), photo=(60, 90), size=(24, 24), rules=MAE) for seed in (3, 3, 4)
    )
    assert (first.shape, first.dtype) == ((24, 24, 3), np.uint8)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_scaled_decoding_shows_the_same_crop(jpegs):
    """Fewer pixels are decoded, and none of them is elsewhere."""
    data = jpegs[0]
    photo = opened(data).size[::-1]
    crop = Crop(top=8, left=16, height=photo[0] - 30, width=photo[1] - 50)
    exact, scaled = (
        cut(data, crop, photo=photo, size=(48, 48), decoding=decoding).astype(int) for decoding in Decoding
    )
    assert 0 < np.abs(exact - scaled).mean() < 2
    moved = cut(data, Crop(top=16, left=24, height=crop.height, width=crop.width), photo=photo, size=(48, 48))
    assert np.abs(exact - scaled).mean() < np.abs(exact - moved).mean() / 3


@pytest.mark.parametrize(
    ("photo", "size", "scaled", "corner"),
    [
        ((60, 90), (28, 28), (32, 48), (2, 10)),
        ((90, 60), (28, 28), (48, 32), (10, 2)),
        ((7, 7), (28, 28), (32, 32), (2, 2)),  # enlarged
        ((60, 60), (14, 28), (32, 32), (9, 2)),
    ],
)
def test_validation_sees_the_middle_of_the_scaled_photo(photo, size, scaled, corner):
    data = jpeg(*photo)
    whole = np.asarray(opened(data).resize(scaled[::-1], Image.Resampling.BICUBIC))
    expected = whole[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]
    np.testing.assert_array_equal(central_crop(data, photo=photo, size=size), expected)


@pytest.mark.parametrize("photo", [(1, 1), (1, 40), (40, 1), (3, 2)])
def test_tiny_photos_fill_the_frame(photo):
    file = io.BytesIO()
    Image.new("RGB", photo[::-1], (200, 90, 30)).save(file, format="JPEG")
    data = file.getvalue()
    for seed in range(20):
        found = random_crop(data, np.random.default_rng(seed), photo=photo, size=(16, 16), rules=MAE)
        assert found.shape == (16, 16, 3)
    assert central_crop(data, photo=photo, size=(16, 16)).shape == (16, 16, 3)
    if photo == (1, 1):
        assert (found == found[0, 0]).all()


@pytest.mark.parametrize(("data", "height", "width", "says"), BROKEN)
def test_a_broken_photo_is_refused_with_the_reason(data, height, width, says):
    with pytest.raises(PhotoError, match=says):
        random_crop(data, np.random.default_rng(0), photo=(height, width), size=(10, 10), rules=MAE)
    with pytest.raises(PhotoError, match=says):
        central_crop(data, photo=(height, width), size=(10, 10))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"area": (0.0, 1.0)}, r"data.crop.area\b.* 0.0"),
        ({"area": (0.5, 0.2)}, "least before the greatest"),
        ({"aspect": (2.0, 0.5)}, "least before the greatest"),
        ({"aspect": (0.0, 1.0)}, "data.crop.aspect"),
        ({"tries": 0}, "data.crop.tries is 0"),
        ({"flip_probability": 1.5}, "data.crop.flip_probability is 1.5"),
    ],
)
def test_crops_that_cannot_be_drawn_are_one_sentence(changes, says):
    with pytest.raises(UserError, match=says):
        CropRules(**changes)
