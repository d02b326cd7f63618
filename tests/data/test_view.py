import dataclasses

import numpy as np
import pytest
from PIL import Image
from shards import annotation, record
from streams import mask_validation, take

from samjax.core.errors import UserError
from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
from samjax.data.masks.packing import fitted_size
from samjax.data.records import masks as records
from samjax.data.stream import example as pipeline
from samjax.data.stream.mixture import RawRecord
from samjax.data.view import WHOLE, ViewRules

SIZES = [(480, 640), (640, 480), (1500, 2250), (333, 334), (1, 5000), (37, 53)]
FRAMES = [(256, 256), (1024, 1024), (96, 64)]


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("photo", SIZES)
def test_by_default_the_whole_photo_is_fitted(photo, frame):
    """And nothing random is used, so that switching augmentation on does not need another default order of masks."""
    rng = np.random.default_rng(0)
    view = WHOLE.draw(rng, photo=photo, frame=frame)
    assert view.scaled_size == view.window == fitted_size(height=photo[0], width=photo[1], frame=frame)
    assert (view.corner, view.flip, view.upside_down) == ((0, 0), False, False)
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("photo", SIZES)
def test_a_window_lies_in_the_scaled_photo_and_the_frame(photo, frame):
    rng = np.random.default_rng(0)
    rules = ViewRules(scale_jitter=(0.1, 2.0), flip_probability=0.5)
    for _ in range(200):
        view = rules.draw(rng, photo=photo, frame=frame)
        for side in range(2):
            assert view.window[side] == min(view.scaled_size[side], frame[side])
            assert 0 <= view.corner[side] <= view.scaled_size[side] - view.window[side]


def test_scale_corner_and_mirror_are_uniform():
    """Means of 4,000 draws, within four standard errors."""
    rng = np.random.default_rng(0)
    rules = ViewRules(scale_jitter=(0.1, 2.0), flip_probability=0.25, upside_down_probability=0.75)
    views = [rules.draw(rng, photo=(1000, 2000), frame=(500, 1000)) for _ in range(4000)]
    scales = np.array([view.scaled_size[1] / 1000 for view in views])
    assert abs(scales.mean() - 1.05) < 4 * 1.9 / np.sqrt(12 * 4000)
    assert scales.min() < 0.11
    assert scales.max() > 1.99
    large = [view for view in views if view.scaled_size[1] > 1100]
    for side in range(2):
        places = np.array([view.corner[side] / (view.scaled_size[side] - view.window[side]) for view in large])
        assert abs(places.mean() - 0.5) < 4 / np.sqrt(12 * len(large))
    for mirrored, chance in (([view.flip for view in views], 0.25), ([view.upside_down for view in views], 0.75)):
        assert abs(np.mean(mirrored) - chance) < 4 * np.sqrt(0.25 * 0.75 / 4000)


def painted_photo(seed):
    """A photo that shows its one mask, white on black, in blocks of eight so that JPEG keeps it."""
    blocks = np.random.default_rng(seed).random((10, 14)) < 0.5
    mask = np.kron(blocks, np.ones((16, 16))).astype(bool)
    import io

    file = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB").save(file, format="JPEG", quality=100)
    return dataclasses.replace(
        record(seed, [], height=160, width=224), jpeg=file.getvalue(), annotations=(annotation(mask),)
    )


def test_masks_stay_on_their_photo_in_every_view():
    """Where the picture shows the mask, the mask is: both go through the same scale, window and mirror."""
    frame = (96, 128)
    config = MaskDataConfig(source="", scale_jitter=(0.3, 2.0), flip_probability=0.5, upside_down_probability=0.5)
    make = pipeline.Decode(MaskExamples(config, image_size=frame))
    rng = np.random.default_rng(1)
    seen = set()
    for seed in range(60):
        example = make(RawRecord("here", records.encode_record(painted_photo(seed))), rng)
        assert isinstance(example, pipeline.Example)
        height, width = example.arrays["valid_size"]
        shown = example.arrays["image"][..., 0] > 127
        mask = np.unpackbits(example.arrays["masks"][0], axis=-1, count=frame[1]).astype(bool)
        agreement = (shown == mask)[:height, :width].mean()
        assert agreement > 0.9, (seed, agreement, height, width)
        assert not mask[height:].any()
        assert not mask[:, width:].any()
        seen.add((int(height), int(width)))
    assert len(seen) > 20


def test_masks_outside_the_window_are_left_out_and_counted():
    """A mask in one corner of a photo shown at twice its size is mostly out of sight."""
    masks = np.zeros((2, 48, 64), bool)
    masks[0, :2, :2] = True
    masks[1] = True
    masks[1, :5, :] = False
    data = records.encode_record(record(1, masks, height=48, width=64))
    make = pipeline.Decode(MaskExamples(MaskDataConfig(source="", scale_jitter=(2.0, 2.0)), image_size=(48, 64)))
    rng = np.random.default_rng(0)
    examples = [make(RawRecord("here", data), rng) for _ in range(50)]
    empty = [example.counts["masks_empty"] for example in examples]
    assert [2 - len(example.arrays["masks"]) for example in examples] == empty
    assert 30 < sum(empty) < 50


@pytest.mark.parametrize(
    ("option", "axis"), [("flip_probability", 1), ("upside_down_probability", 0)], ids=["flip", "upside_down"]
)
def test_a_mirrored_stream_is_mirrored_half_the_time(prepared, start, option, axis):
    config = MaskDataConfig(source=str(prepared / "train"), threads=2, max_masks=1)
    plain, mirrored = (take(start(dataclasses.replace(config, **{option: chance})), 4) for chance in (0.0, 0.5))
    same = []
    for one, other in zip(plain, mirrored, strict=True):
        np.testing.assert_array_equal(one.record_id, other.record_id)
        for row in range(6):
            height, width = map(int, one.valid_size[row])
            is_same = np.array_equal(one.image[row], other.image[row])
            flipped = np.array(one.image[row])
            flipped[:height, :width] = np.flip(flipped[:height, :width], axis)
            assert is_same or np.array_equal(flipped, other.image[row])
            same.append(is_same)
    assert 5 < sum(same) < 19


def test_validation_shows_photos_as_they_are(prepared):
    config = MaskDataConfig(source=str(prepared / "val"), split="val", threads=2, max_masks=2)
    wild = dataclasses.replace(config, flip_probability=1.0, upside_down_probability=1.0, scale_jitter=(0.1, 0.2))
    for one, other in zip(
        *(mask_validation(each, image_size=(64, 64), batch_size=8, limit=8) for each in (config, wild)), strict=True
    ):
        np.testing.assert_array_equal(np.asarray(one.image), np.asarray(other.image))
        np.testing.assert_array_equal(np.asarray(one.masks), np.asarray(other.masks))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"scale_jitter": (0.0, 1.0)}, "scale_jitter"),
        ({"scale_jitter": (2.0, 0.1)}, "scale_jitter"),
        ({"scale_jitter": (0.1, 1000.0)}, "scale_jitter"),
        ({"scale_jitter": (float("nan"), 2.0)}, "scale_jitter"),
        ({"flip_probability": 1.5}, "flip_probability is 1.5"),
        ({"upside_down_probability": -1.0}, "upside_down_probability is -1.0"),
    ],
)
def test_views_that_cannot_be_drawn_are_one_sentence(changes, says):
    with pytest.raises(UserError, match=says):
        MaskDataConfig(source="", **changes)
