import dataclasses

import numpy as np
import pytest
from shards import annotation

from samjax.core.errors import UserError
from samjax.data.masks import rle
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.data.masks.resample import MaskGrid
from samjax.data.masks.sampling import MaskRules, Omissions, draw_masks
from samjax.data.records import masks as records

SIZE = (20, 30)


def draw(masks, rng, *, fitted=SIZE, frame=(20, 32), max_masks=4, **rules):
    return draw_masks(
        [one if isinstance(one, records.Annotation) else annotation(one) for one in masks],
        rng,
        size=SIZE,
        grid=MaskGrid.to_size(height=SIZE[0], width=SIZE[1], size=fitted, frame=frame),
        rules=MaskRules(**rules),
        max_masks=max_masks,
    )


def columns(count):
    masks = np.zeros((count, *SIZE), bool)
    masks[np.arange(count), :, np.arange(count)] = True
    return masks


def drawn(result):
    return np.unpackbits(result.masks, axis=-1)[:, 0].argmax(axis=-1)


def test_masks_are_drawn_uniformly_without_replacement():
    """Every ordered pair of six masks equally often, also with unusable masks among them (chi square, 29 degrees)."""
    masks = columns(6)
    masks = np.concatenate([masks[:3], np.zeros((2, *SIZE), bool), masks[3:], np.ones((1, *SIZE), bool)])
    masks = [annotation(mask) for mask in masks]
    rng = np.random.default_rng(0)
    seen = np.zeros((6, 6), int)
    rounds = 1500
    for _ in range(rounds):
        first, second = drawn(draw(masks, rng, max_masks=2))
        seen[first, second] += 1
    assert not seen.diagonal().any()
    expected = rounds / 30
    statistic = ((seen[~np.eye(6, dtype=bool)] - expected) ** 2 / expected).sum()
    assert statistic < 58.3  # p = 0.001


def test_all_masks_come_where_there_are_few():
    result = draw(columns(3), np.random.default_rng(0), max_masks=64)
    assert sorted(drawn(result)) == [0, 1, 2]


def test_masks_over_the_area_bound_are_left_out_and_counted():
    masks = columns(3)
    masks[1] = True
    masks[1].flat[:60] = False  # exactly 90%: kept
    masks[2] = True
    masks[2].flat[:59] = False
    result = draw(masks, np.random.default_rng(0))
    assert len(result.masks) == 2
    assert result.left_out.too_large == 1


def test_masks_that_vanish_are_left_out_and_counted():
    masks = columns(4)
    masks[3] = False
    masks[3, 0, 0] = True  # a pixel that no sample position of a 5 x 7 frame meets
    result = draw(masks, np.random.default_rng(0), fitted=(5, 7), frame=(5, 8), max_masks=64)
    assert result.left_out.empty == 3  # columns 0 and 1 are met by none either: the first position is 30 / 14
    assert len(result.masks) == 1


def test_no_mask_at_all():
    result = draw([], np.random.default_rng(0))
    assert result.masks.shape == (0, 20, 4)


def test_a_broken_mask_is_named_whether_drawn_or_not():
    broken = annotation(np.ones((20, 31), bool))
    masks = [annotation(mask) for mask in columns(9)] + [broken]
    for seed in range(5):
        with pytest.raises(rle.RleError, match="annotation 9: runs cover 620 pixels but size says 20 x 30"):
            draw(masks, np.random.default_rng(seed), max_masks=1)


@pytest.mark.parametrize(
    ("rules", "reason", "kept"),
    [
        ({"min_area_fraction": 0.011}, "too_small", [1, 2]),
        ({"min_area_fraction": 0.01}, "too_small", [0, 1, 2]),
        ({"min_area_fraction": 0.034}, "too_small", [2]),
        ({"min_area": 7}, "too_small", [1, 2]),
        ({"min_area": 6}, "too_small", [0, 1, 2]),
        ({"max_area_fraction": 0.5}, "too_large", [0, 1, 2]),
        ({"max_area_fraction": 0.034}, "too_large", [0, 1]),
        ({"min_predicted_iou": 0.88}, "low_predicted_iou", [1, 2]),
        ({"min_predicted_iou": 0.95}, "low_predicted_iou", [2]),
        ({"min_stability_score": 0.92}, "low_stability", [0, 2]),
    ],
)
def test_masks_that_a_rule_leaves_out_are_counted_under_it(rules, reason, kept):
    """A bound itself is kept, and a score that is no number is below every bound but 0."""
    masks = columns(3)
    masks[0, 6:] = False  # 6 pixels of 600, 20, 300
    masks[2, :10] = True
    masks[2, 10:] = False
    scores = [(float("nan"), 0.95), (0.9, 0.9), (0.95, 1.2)]
    annotations = [
        dataclasses.replace(annotation(mask), predicted_iou=iou, stability_score=stability)
        for mask, (iou, stability) in zip(masks, scores, strict=True)
    ]
    result = draw(annotations, np.random.default_rng(0), **rules)
    assert len(result.masks) == len(kept)
    known = [np.packbits(np.pad(masks[index], ((0, 0), (0, 2))), axis=-1).tobytes() for index in kept]
    assert sorted(mask.tobytes() for mask in result.masks) == sorted(known)
    assert result.left_out == Omissions(**{reason: 3 - len(kept)})


def test_a_mask_is_counted_under_one_reason_alone():
    masks = columns(4)
    masks[3] = True
    result = draw(masks, np.random.default_rng(0), min_area=21, min_predicted_iou=0.99, min_stability_score=0.99)
    assert result.left_out == Omissions(too_large=1, too_small=3)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"min_area": -1}, "min_area is -1"),
        ({"min_predicted_iou": 1.5}, "min_predicted_iou is 1.5"),
        ({"min_stability_score": float("nan")}, "min_stability_score is nan"),
        ({"max_area_fraction": 1.1}, "max_area_fraction is 1.1"),
        ({"min_area_fraction": 0.9}, "min_area_fraction is 0.9"),
    ],
)
def test_rules_that_cannot_be_used_are_one_sentence(rules, says):
    with pytest.raises(UserError, match=says):
        MaskDataConfig(source="", **rules)
