import numpy as np
import pytest
from shards import annotation

from samjax.data import rle
from samjax.data.sampling import draw_masks

SIZE = (20, 30)


def draw(masks, rng, **changes):
    settings = {"size": SIZE, "fitted": SIZE, "frame": (20, 32), "max_masks": 4, "max_area_fraction": 0.9}
    return draw_masks([annotation(mask) for mask in masks], rng, **{**settings, **changes})


def columns(count):
    masks = np.zeros((count, *SIZE), bool)
    masks[np.arange(count), :, np.arange(count)] = True
    return masks


def drawn(result):
    return np.unpackbits(result.packed, axis=-1)[:, 0].argmax(axis=-1)


def test_masks_are_drawn_uniformly_without_replacement():
    """Every ordered pair of six masks equally often, also with unusable masks among them (chi square, 29 degrees)."""
    masks = columns(6)
    masks = np.concatenate([masks[:3], np.zeros((2, *SIZE), bool), masks[3:], np.ones((1, *SIZE), bool)])
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
    assert len(result.packed) == 2
    assert result.too_large == 1


def test_masks_that_vanish_are_left_out_and_counted():
    masks = columns(4)
    masks[3] = False
    masks[3, 0, 0] = True  # a pixel that no sample position of a 5 x 7 frame meets
    result = draw(masks, np.random.default_rng(0), fitted=(5, 7), frame=(5, 8), max_masks=64)
    assert result.empty == 3  # columns 0 and 1 are met by none either: the first position is 30 / 14
    assert len(result.packed) == 1


def test_no_mask_at_all():
    result = draw([], np.random.default_rng(0))
    assert result.packed.shape == (0, 20, 4)


def test_a_broken_mask_is_named_whether_drawn_or_not():
    broken = annotation(np.ones((20, 31), bool))
    masks = [annotation(mask) for mask in columns(9)] + [broken]
    for seed in range(5):
        with pytest.raises(rle.RleError, match="annotation 9: runs cover 620 pixels but size says 20 x 30"):
            draw_masks(
                masks,
                np.random.default_rng(seed),
                size=SIZE,
                fitted=SIZE,
                frame=SIZE,
                max_masks=1,
                max_area_fraction=0.9,
            )


def test_masks_below_the_smallest_share_are_counted_and_left_out():
    small, large = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    small[0, 0] = True
    large[:10] = True
    masks = [annotation(small, identifier=1), annotation(large, identifier=2)]
    settings = {"size": SIZE, "fitted": SIZE, "frame": (20, 32), "max_masks": 4, "max_area_fraction": 0.9}
    drawn = draw_masks(masks, np.random.default_rng(0), **settings, min_area_fraction=0.01)
    assert (len(drawn.packed), drawn.too_small, drawn.too_large) == (1, 1, 0)
    assert len(draw_masks(masks, np.random.default_rng(0), **settings).packed) == 2
