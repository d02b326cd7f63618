"""The generator against the published algorithm restated plainly: same masks, same order, same scores."""

import dataclasses

import numpy as np
import pytest
from helpers.generators import as_function, disc_engine, given_engine, micro_engine
from restated import Restated, restated

from samjax.core.errors import UserError
from samjax.data.masks import rle
from samjax.predict.automatic.generator import GeneratedMask, MaskGenerator
from samjax.predict.automatic.generator_config import GeneratorConfig

NEAR = 1e-5
"""A logit this near to a threshold, of a largest logit of 1, is on a side that rounding decides."""


def same(ours: list[GeneratedMask], theirs: list[Restated], *, offset: float) -> None:
    """Assert equal masks in equal order; pixels may differ whose logit is so near 0 that rounding decides."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        height, width = one.segmentation["size"]
        mask = rle.decode(one.segmentation["counts"], height=height, width=width)
        x0, y0, x1, y1 = other.crop
        near = NEAR * max(1, np.abs(other.logits).max())
        if (mask != other.mask).any():
            differs = (mask != other.mask)[y0:y1, x0:x1]
            assert np.count_nonzero(mask != other.mask) == np.count_nonzero(differs)
            assert np.abs(other.logits[differs]).max() < near, "pixels differ that rounding does not decide"
        else:
            assert rle.encode(other.mask) == one.segmentation
            assert list(one.box) == other.box
        assert one.area == mask.sum()
        assert one.crop_box == other.crop
        assert one.point == pytest.approx(other.point, abs=1e-9)
        assert one.predicted_iou == pytest.approx(float(other.iou), abs=1e-4)
        unsure = sum(np.count_nonzero(np.abs(other.logits - side) < near) for side in (offset, -offset))
        room = 1e-4 + unsure / max(1, np.count_nonzero(other.logits > -offset))
        assert one.stability_score == pytest.approx(float(other.stability), abs=room)


def check(engine, photos, config, **generator) -> list[list[GeneratedMask]]:
    """Return the masks, after comparing those of each photo."""
    found = MaskGenerator(engine, config, **generator).generate(photos)
    for photo, masks in zip(photos, found, strict=True):
        model = as_function(engine, multimask=config.masks_per_point == 3)
        theirs = restated(photo, model, config, frame=engine.config.image_size)
        same(masks, theirs, offset=config.stability_offset)
    return found


def noise(*size: int) -> np.ndarray:
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def discs():
    return disc_engine()


@pytest.fixture(scope="module")
def random_model():
    return micro_engine()


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_discs_are_as_published(layers, discs):
    """Discs overlap, repeat, reach over the edges of crops and come from several of them: every filter has work."""
    config = GeneratorConfig(
        points_per_side=12,
        points_per_batch=40,
        pred_iou_threshold=0.55,
        stability_threshold=0.5,
        crop_layers=layers,
        points_downscale=2,
    )
    (masks,) = check(discs, [noise(150, 225)], config)
    assert len(masks) > 10
    assert len({mask.crop_box for mask in masks}) >= (1, 4, 10)[layers]


@pytest.mark.parametrize("layers", [0, 1])
def test_a_random_model_is_as_published(layers, random_model):
    """Its masks are noise all over the photo, so nothing is suppressed: what is compared is masks, scores and order."""
    config = GeneratorConfig(
        points_per_side=5,
        points_per_batch=16,
        pred_iou_threshold=0.9,
        stability_threshold=0.5,
        stability_offset=0.02,
        box_nms_threshold=1.0,
        crop_nms_threshold=1.0,
        crop_layers=layers,
    )
    first, second = check(random_model, [noise(90, 130), noise(70, 48)], config)
    assert len(first) + len(second) > 20
    assert len({mask.segmentation["counts"] for mask in first}) == len(first)


def test_one_mask_a_point_is_as_published(random_model):
    """The mask of an unambiguous prompt: none of the three candidates, and each with its point."""
    config = GeneratorConfig(
        points_per_side=5,
        points_per_batch=16,
        masks_per_point=1,
        pred_iou_threshold=0.0,
        stability_threshold=0.0,
        stability_offset=0.02,
        box_nms_threshold=1.0,
    )
    (single,) = check(random_model, [noise(90, 130)], config)
    (three,) = check(random_model, [noise(90, 130)], dataclasses.replace(config, masks_per_point=3))
    assert len(single) == 25
    assert len({mask.point for mask in single}) == 25
    assert len(three) > 50
    assert not {mask.segmentation["counts"] for mask in single} & {mask.segmentation["counts"] for mask in three}


def test_specks_are_cleaned_as_published():
    """Masks with holes or islands lose those, and their place: they come after the masks that had none."""
    rough = disc_engine(radii=(3.0, 9.0, 20.0), ripple=4.0)
    config = GeneratorConfig.sa1b(
        points_per_side=8, points_per_batch=64, crop_layers=1, pred_iou_threshold=0.5, stability_threshold=0.2
    )
    (cleaned,) = check(rough, [noise(150, 225)], config)
    (before,) = MaskGenerator(rough, dataclasses.replace(config, min_region_area=0)).generate([noise(150, 225)])
    changed = [mask not in before for mask in cleaned]
    assert 0 < changed.index(True) < len(changed) - 1


def low_pixels(*pixels: tuple[int, int], inside: float = 5.0, outside: float = -5.0) -> np.ndarray:
    """Return the micro model's logits, positive at these (x, y) alone."""
    logits = np.full((16, 16), outside, np.float32)
    for x, y in pixels:
        logits[y, x] = inside
    return logits


ONCE = GeneratorConfig(points_per_side=1, points_per_batch=4, pred_iou_threshold=0.5, stability_threshold=0.1)


def test_a_mask_of_one_pixel():
    """Its box has no area, overlaps nothing, and suppresses nothing: three equal ones all stay."""
    config = dataclasses.replace(ONCE, stability_threshold=0.0)
    logits = np.stack([low_pixels((5, 9), outside=-8.0)] * 3)
    (masks,) = check(given_engine(logits), [noise(16, 16)], config)
    assert [mask.area for mask in masks] == [1, 1, 1]
    assert [mask.box for mask in masks] == [(5, 9, 5, 9)] * 3
    assert [round(mask.predicted_iou, 2) for mask in masks] == [1.0, 0.95, 0.9]


def test_nothing_found_is_an_empty_list():
    """No pixel above 0; no candidate trusted; none stable; all too large: each filter may leave nothing."""
    empty = np.full((3, 16, 16), -4.0, np.float32)
    square = np.stack([low_pixels(*((x, y) for x in range(4, 9) for y in range(4, 9)))] * 3)
    engine, trusted = given_engine(square), (0.9, 0.95, 1.0)
    assert MaskGenerator(engine, ONCE).generate([]) == []
    assert len(MaskGenerator(engine, ONCE).generate([noise(64, 64)])[0]) == 1
    for engine.logits, engine.iou, config in [
        (empty, trusted, ONCE),
        (empty, trusted, dataclasses.replace(ONCE, stability_threshold=0.0, pred_iou_threshold=0.0)),
        (square, (0.1, 0.2, 0.5), ONCE),
        (square, trusted, dataclasses.replace(ONCE, stability_offset=4.9, stability_threshold=1.0)),
        (square + 10, trusted, dataclasses.replace(ONCE, max_area_fraction=0.95)),
    ]:
        assert check(engine, [noise(64, 64), noise(20, 70)], config) == [[], []]
    layered = dataclasses.replace(ONCE, crop_layers=1, min_region_area=9)
    engine.logits = empty
    assert check(engine, [noise(64, 64)], layered) == [[]]


def test_filters_are_exact_at_their_thresholds(random_model):
    """A stability of the threshold passes and the next number above it does not; a predicted IoU must be above."""
    every = GeneratorConfig(
        points_per_side=3,
        points_per_batch=9,
        pred_iou_threshold=0.01,
        stability_threshold=0.01,
        stability_offset=0.02,
        box_nms_threshold=1.0,
    )
    (all_,) = MaskGenerator(random_model, every).generate([noise(60, 60)])
    stabilities = sorted(mask.stability_score for mask in all_)
    middle = stabilities[len(stabilities) // 2]
    for threshold, left in ((middle, middle), (float(np.nextafter(np.float32(middle), np.float32(2))), np.inf)):
        config = dataclasses.replace(every, stability_threshold=threshold)
        (masks,) = MaskGenerator(random_model, config).generate([noise(60, 60)])
        assert len(masks) == sum(s >= threshold for s in stabilities)
        assert (min(mask.stability_score for mask in masks) == middle) is (left == middle)
    below = max(mask.predicted_iou for mask in all_ if mask.predicted_iou < 1)
    config = dataclasses.replace(every, pred_iou_threshold=below)
    (masks,) = MaskGenerator(random_model, config).generate([noise(60, 60)])
    assert len(masks) == sum(mask.predicted_iou > below for mask in all_) < len(all_)


def test_a_pool_that_is_too_small_grows(discs):
    """Whatever slots it starts with, no candidate is lost."""
    config = GeneratorConfig(points_per_side=6, points_per_batch=12, pred_iou_threshold=0.5, stability_threshold=0.3)
    enough, small = MaskGenerator(discs, config), MaskGenerator(discs, config)
    small._slots = 4
    assert small.generate([noise(90, 60)]) == enough.generate([noise(90, 60)])
    assert small._slots > 4


def test_batches_and_meshes_change_nothing(random_model):
    """Photos of several sizes, alone, together, and split over two devices."""
    config = GeneratorConfig(
        points_per_side=3,
        points_per_batch=6,
        pred_iou_threshold=0.9,
        stability_threshold=0.0,
        box_nms_threshold=1.0,
        crop_nms_threshold=1.0,
        crop_layers=1,
    )
    photos = [noise(90, 130), noise(70, 48), noise(20, 64)]
    alone = MaskGenerator(random_model, config)
    one_by_one = [masks for photo in photos for masks in alone.generate([photo])]
    assert all(one_by_one)
    for engine, batch_size in ((random_model, 2), (micro_engine(devices=2), 2)):
        together = MaskGenerator(engine, config, batch_size=batch_size).generate(photos)
        for some, others in zip(together, one_by_one, strict=True):
            assert [mask.point for mask in some] == [mask.point for mask in others]
            assert [mask.crop_box for mask in some] == [mask.crop_box for mask in others]
            scores = [[(m.predicted_iou, m.stability_score, m.area / 1e4) for m in masks] for masks in (some, others)]
            np.testing.assert_allclose(*scores, atol=1e-3)


def test_a_batch_that_the_mesh_cannot_split_is_refused():
    with pytest.raises(UserError, match="give a multiple of 2"):
        MaskGenerator(micro_engine(devices=2), ONCE, batch_size=3)


def test_what_came_nearest_to_the_thresholds_is_kept(discs):
    """For photos on which nothing passes: over all points and crops."""
    photos = [noise(64, 64), noise(40, 64)]
    config = GeneratorConfig(points_per_side=4, points_per_batch=5, crop_layers=1, pred_iou_threshold=0.999)
    strict = MaskGenerator(discs, config)
    assert strict.generate(photos) == [[], []]
    assert [highest.stability for highest in strict.highest] == [None, None]
    loose = MaskGenerator(discs, dataclasses.replace(config, pred_iou_threshold=0.0, stability_threshold=1.0))
    assert loose.generate(photos) == [[], []]
    assert [highest.iou for highest in loose.highest] == [highest.iou for highest in strict.highest]
    every = MaskGenerator(discs, dataclasses.replace(config, pred_iou_threshold=0.0, stability_threshold=0.0))
    for masks, highest in zip(every.generate(photos), loose.highest, strict=True):
        assert max(mask.predicted_iou for mask in masks) <= highest.iou < 0.999
        assert max(mask.stability_score for mask in masks) <= (highest.stability or 0) < 1
