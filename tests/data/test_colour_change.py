"""Random changes of colours: what they are, and what they leave as it was."""

import dataclasses

import numpy as np
import pytest
from PIL import Image
from streams import mask_validation, take

from samjax.core.errors import UserError
from samjax.data.colour_change import ColourChange
from samjax.data.masks.mask_data import MaskDataConfig

PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8))


def changed(brightness=1.0, contrast=1.0, saturation=1.0) -> np.ndarray:
    change = ColourChange(brightness=brightness, contrast=contrast, saturation=saturation)
    return np.asarray(change.apply(PHOTO)).astype(int)


def test_factors_of_one_change_nothing():
    np.testing.assert_array_equal(changed(), np.asarray(PHOTO))


def test_factors_are_what_their_names_say():
    pixels = np.asarray(PHOTO).astype(int)
    assert np.abs(changed(brightness=0.5) - pixels * 0.5).max() <= 1
    assert not changed(brightness=0.0).any()
    flat = changed(contrast=0.0)
    assert (flat == flat[0, 0]).all()
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    assert abs(flat[0, 0, 0] - grey.mean()) <= 1
    assert np.abs(changed(saturation=0.0) - grey[..., None]).max() <= 1
    assert np.abs(changed(saturation=0.5) - (pixels + grey[..., None]) / 2).max() <= 1.5


def test_factors_are_drawn_on_both_sides_of_one():
    rng = np.random.default_rng(0)
    drawn = [dataclasses.astuple(ColourChange.draw(rng, strength=0.3)) for _ in range(400)]
    assert np.min(drawn) >= 0.7
    assert np.max(drawn) <= 1.3
    np.testing.assert_allclose(np.mean(drawn, axis=0), 1.0, atol=0.03)
    assert np.std(drawn, axis=0).min() > 0.15


def test_a_stream_changes_colours_and_nothing_else(prepared, start):
    """The same photos, views and masks, and no colour where there is no photo."""
    config = MaskDataConfig(source=str(prepared / "train"), threads=2, max_masks=2)
    config = dataclasses.replace(config, flip_probability=0.5, scale_jitter=(0.5, 1.5))
    plain, jittered = (take(start(dataclasses.replace(config, colour_jitter=much)), 2) for much in (0.0, 0.5))
    differ = 0
    for one, other in zip(plain, jittered, strict=True):
        for name in ("record_id", "valid_size", "masks", "mask_valid"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        for row, (height, width) in enumerate(one.valid_size):
            differ += not np.array_equal(one.image[row], other.image[row])
            assert not other.image[row, height:].any()
            assert not other.image[row, :, width:].any()
    assert differ == 12


def test_validation_keeps_its_colours(prepared):
    config = MaskDataConfig(source=str(prepared / "val"), split="val", threads=2, max_masks=2)
    both = (config, dataclasses.replace(config, colour_jitter=1.0))
    plain, jittered = (mask_validation(each, image_size=(64, 64), batch_size=8, limit=8) for each in both)
    for one, other in zip(plain, jittered, strict=True):
        np.testing.assert_array_equal(np.asarray(one.image), np.asarray(other.image))


@pytest.mark.parametrize("much", [-0.1, 1.1, float("nan")])
def test_a_share_outside_its_range_is_refused(much):
    with pytest.raises(UserError, match=r"data\.colour_jitter is .*between 0 and 1: factors down to 1 minus it"):
        MaskDataConfig(source="", colour_jitter=much)
