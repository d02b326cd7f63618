"""Thresholds applied without the model: what a generator that has them finds."""

import dataclasses

import numpy as np
from helpers.generators import DiscEngine, disc_engine
from hypothesis import example, given, settings
from hypothesis import strategies as st

from samjax.predict.automatic.generator import MaskGenerator
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.nms import highest_below, kept_boxes
from samjax.predict.automatic.nms_loop import suppress_in_groups
from samjax.predict.automatic.replay import Candidates, choose, every_candidate

PHOTO = np.random.default_rng(0).integers(0, 256, (150, 225, 3), dtype=np.uint8)
THRESHOLDS = (
    {},
    {"pred_iou_threshold": 0.66, "stability_threshold": 0.3, "box_nms_threshold": 0.4},
    {"pred_iou_threshold": 0.0, "stability_threshold": 0.4, "max_area_fraction": 0.08, "crop_nms_threshold": 0.2},
    {"box_nms_threshold": 0.0, "crop_nms_threshold": 1.0, "max_area_fraction": 0.0},
)
"""None at all; each filter; nothing passes."""


def candidates(engine: DiscEngine, config: GeneratorConfig) -> Candidates:
    generator = MaskGenerator(engine, every_candidate(config))
    parts = [
        Candidates.of(generator.look([PHOTO], layer)[0], size=PHOTO.shape[:2])
        for layer in range(config.crop_layers + 1)
    ]
    return Candidates.join(parts)


def test_a_replay_is_what_the_generator_finds():
    """Crops too; without them see tests/eval/tuning."""
    engine = disc_engine()
    base = GeneratorConfig(points_per_side=8, points_per_batch=64, crop_layers=1, points_downscale=2)
    every = candidates(engine, base)
    numbers = []
    for change in THRESHOLDS:
        config = dataclasses.replace(every_candidate(base), **change)
        (found,) = MaskGenerator(engine, config).generate([PHOTO])
        assert every.masks(choose(every, config)) == found
        numbers.append(len(found))
    assert numbers[0] == len(every) > numbers[1] > 10
    assert numbers[2] > 10
    assert numbers[3] == 0


BOXES = st.lists(st.tuples(*[st.integers(0, 12)] * 4, st.integers(0, 5)), max_size=16)


@settings(max_examples=40)
@example([(0, 0, 2, 1, 1), (0, 0, 1, 1, 0)], 0.5)
@given(BOXES, st.sampled_from([0.0, 0.5, 0.7]))
def test_the_loop_suppresses_as_the_device_does(drawn, threshold):
    """Boxes with and without an area, equal scores, thresholds that an IoU equals."""
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in drawn], np.float32).reshape(-1, 4)
    scores = np.array([score for *_, score in drawn], np.float32)
    expected = kept_boxes(boxes, scores, threshold=threshold).tolist() if drawn else []
    order = np.argsort(-scores, kind="stable")
    places = np.concatenate([order, order + len(boxes)])  # the same boxes in a second group
    kept = np.empty_like(places)
    groups = np.repeat(np.arange(2), len(boxes))
    count = suppress_in_groups(np.tile(boxes, (2, 1)), groups, places, highest_below(threshold), kept)
    assert kept[:count].tolist() == [*expected, *(place + len(boxes) for place in expected)]
