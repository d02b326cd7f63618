"""Photometric distortion: what each change does, and how often it is drawn."""

import colorsys

import numpy as np
import pytest
from PIL import Image

from samjax.data.segments.photometric import PhotometricChange, PhotometricConfig

NOTHING = PhotometricChange(0.0, 1.0, 1.0, 0.0, contrast_last=False)


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3)).astype(np.uint8))


def test_no_change_changes_nothing(photo):
    np.testing.assert_array_equal(NOTHING.apply(photo), photo)


def test_brightness_adds_and_contrast_multiplies_in_the_order_that_is_drawn(photo):
    pixels = np.asarray(photo).astype(float)
    first = PhotometricChange(10.0, 1.5, 1.0, 0.0, contrast_last=False).apply(photo)
    np.testing.assert_array_equal(first, np.clip(np.round(np.clip(pixels + 10, 0, 255) * 1.5), 0, 255))


def test_a_turned_hue_keeps_value_and_saturation():
    photo = Image.new("RGB", (1, 1), (200, 40, 40))
    turned = np.asarray(NOTHING._replace(hue=120.0).apply(photo))[0, 0] / 255
    expected = colorsys.rgb_to_hsv(200 / 255, 40 / 255, 40 / 255)
    found = colorsys.rgb_to_hsv(*turned)
    assert found[0] == pytest.approx(1 / 3, abs=0.01)
    assert found[1:] == pytest.approx(expected[1:], abs=0.02)


def test_no_saturation_is_grey(photo):
    grey = np.asarray(NOTHING._replace(saturation=0.0).apply(photo))
    assert (grey == grey[..., :1]).all()


def test_each_change_is_made_as_often_as_asked():
    drawn = [PhotometricConfig(probability=0.25).draw(np.random.default_rng(seed)) for seed in range(400)]
    for place, neutral in enumerate((0.0, 1.0, 1.0, 0.0)):
        assert np.mean([one[place] != neutral for one in drawn]) == pytest.approx(0.25, abs=0.07)
    assert np.mean([one.contrast_last for one in drawn]) == pytest.approx(0.5, abs=0.08)
    never = PhotometricConfig(probability=0.0)
    assert all(never.draw(np.random.default_rng(seed))[:4] == NOTHING[:4] for seed in range(9))
