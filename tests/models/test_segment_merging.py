"""What queries say, merged by the authors' rules: each rule in a photo made for it."""

import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.batches import NO_SEGMENT
from samjax.models.query_masks.segment_merging import PanopticRules, class_scores, merge_panoptic, rank_instances

THINGS = [True, False]
"""Of class 0 and class 1."""


def said(*queries):
    """Return logits of queries (class or None, probability, columns of 10 that its mask has)."""
    classes = np.zeros((len(queries), 3), np.float32)
    masks = np.full((len(queries), 2, 10), -6.0, np.float32)
    for n, (category, probability, columns) in enumerate(queries):
        own = 2 if category is None else category
        classes[n] = np.log((1 - probability) / 2)
        classes[n, own] = np.log(probability)
        masks[n, :, columns] = 6.0
    return jnp.asarray(classes), jnp.asarray(masks)


def merged(*queries, **rules):
    found, segments = merge_panoptic(*said(*queries), things=THINGS, rules=PanopticRules(**rules))
    return found[0].tolist(), [one.category for one in segments]


def test_things_stay_apart_and_stuff_becomes_one():
    found, classes = merged(
        (0, 0.9, slice(0, 3)), (0, 0.95, slice(3, 5)), (1, 0.9, slice(5, 7)), (1, 0.9, slice(8, 10))
    )
    assert found == [0, 0, 0, 1, 1, 2, 2, NO_SEGMENT, 2, 2]
    assert classes == [0, 0, 1]


def test_queries_of_none_or_of_a_low_score_are_left_out():
    found, classes = merged((None, 0.99, slice(0, 5)), (0, 0.79, slice(5, 7)), (0, 0.81, slice(7, 10)))
    assert found == [NO_SEGMENT] * 7 + [0] * 3
    assert classes == [0]


def test_a_mask_that_others_took_more_than_a_fifth_of_is_dropped_with_all_its_pixels():
    found, classes = merged((0, 0.99, slice(0, 4)), (0, 0.9, slice(2, 10)))
    assert found == [0] * 4 + [NO_SEGMENT] * 6
    assert merged((0, 0.99, slice(0, 2)), (0, 0.9, slice(0, 10)))[0] == [0] * 2 + [1] * 8
    assert classes == [0]


def test_a_pixel_goes_to_the_product_of_class_and_mask():
    found, _ = merged((0, 0.9, slice(0, 10)), (1, 0.99, slice(9, 10)))
    assert found == [0] * 9 + [1]


def test_maskformers_masks_reach_beyond_their_edge():
    """The pixels that no mask has go to the likeliest one."""
    queries = (0, 0.9, slice(0, 4)), (1, 0.95, slice(6, 10))
    assert merged(*queries)[0] == [0] * 4 + [NO_SEGMENT] * 2 + [1] * 4
    assert merged(*queries, inside_alone=False)[0] == [0] * 4 + [1] * 6


def test_instances_are_ranked_by_class_times_mask_and_stuff_is_left_out():
    masks, found = rank_instances(
        *said((1, 0.99, slice(0, 2)), (0, 0.6, slice(2, 5)), (0, 0.9, slice(5, 9))), things=THINGS, most=3
    )
    assert [one.category for one in found] == [0, 0]
    assert masks[:, 0].sum(axis=1).tolist() == [4, 3]
    assert found[0].score == pytest.approx(0.9 / (1 + np.exp(-6)), rel=1e-4)


def test_a_query_without_any_pixel_has_the_score_zero():
    classes, masks = said((0, 0.9, slice(0, 0)))
    assert rank_instances(classes, masks, things=THINGS, most=1)[1][0].score == 0.0
    assert merge_panoptic(classes, masks, things=THINGS)[1] == []


def test_scores_of_classes_are_sums_over_queries():
    classes, masks = said((0, 0.5, slice(0, 5)), (0, 0.25, slice(0, 5)), (None, 0.9, slice(0, 10)))
    found = class_scores(classes, masks)
    inside = 1 / (1 + np.exp(-6))
    assert found.shape == (2, 10, 2)
    assert found[0, 0, 0] == pytest.approx((0.5 + 0.25 + 0.05) * inside, rel=1e-4)
