"""The generator against the published algorithm restated plainly: same masks, same order, same scores."""

import numpy as np
import pytest
from generators import as_function, disc_engine, micro_engine
from restated import Restated, restated

from samjax.data import rle
from samjax.predict.generator_config import GeneratorConfig
from samjax.predict.mask_generator import GeneratedMask, MaskGenerator

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
        theirs = restated(photo, as_function(engine), config, frame=engine.config.image_size)
        same(masks, theirs, offset=config.stability_offset)
    return found


def noise(*size: int) -> np.ndarray:
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_discs_are_as_published(layers):
    """Discs overlap, repeat, reach over the edges of crops and come from several of them: every filter has work."""
    config = GeneratorConfig(
        points_per_side=12,
        points_per_batch=40,
        pred_iou_threshold=0.55,
        stability_threshold=0.5,
        crop_layers=layers,
        points_downscale=2,
    )
    (masks,) = check(disc_engine(), [noise(150, 225)], config)
    assert len(masks) > 10
    assert len({mask.crop_box for mask in masks}) >= (1, 4, 10)[layers]


@pytest.mark.parametrize("layers", [0, 1])
def test_a_random_model_is_as_published(layers):
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
    first, second = check(micro_engine(), [noise(90, 130), noise(70, 48)], config)
    assert len(first) + len(second) > 20
    assert len({mask.segmentation["counts"] for mask in first}) == len(first)
