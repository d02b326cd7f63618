"""The matcher against an independent exact assignment, and against cases worked out by hand."""

import numpy as np
import pytest
from helpers.made_bsds import made_photo
from scipy.optimize import linear_sum_assignment

from samjax.eval.protocols.edges.levels import THRESHOLDS, as_levels, level_of
from samjax.eval.protocols.edges.matching import RADIUS, count, match
from samjax.eval.protocols.edges.thinning import thin


def assigned(detected: np.ndarray, truth: np.ndarray, radius: float) -> tuple[int, int]:
    """Return pairs and cost by scipy: a pair that is too far apart costs more than all others together."""
    one, other = np.argwhere(detected), np.argwhere(truth)
    squares = ((one[:, None] - other[None]) ** 2).sum(axis=-1)
    costs = np.where(squares <= radius**2, np.rint(100 * np.sqrt(squares)), 1e8)
    rows, columns = linear_sum_assignment(costs)
    near = costs[rows, columns] < 1e8
    return int(near.sum()), int(costs[rows, columns][near].sum())


def points(shape: tuple[int, int], *places: tuple[int, int]) -> np.ndarray:
    picture = np.zeros(shape, bool)
    for place in places:
        picture[place] = True
    return picture


@pytest.mark.parametrize("radius", [0.0, 1.0, 1.5, 2.3, 4.34])
@pytest.mark.parametrize("share", [(0.05, 0.05), (0.1, 0.4), (0.5, 0.15), (0.6, 0.6)])
def test_pairs_and_cost_are_those_of_an_exact_assignment(radius, share):
    draw = np.random.default_rng(int(100 * radius + 1000 * share[0]))
    for _ in range(12):
        shape = draw.integers(1, 22, 2)
        detected, truth = draw.random(shape) < share[0], draw.random(shape) < share[1]
        found = match(detected, truth, radius=radius)
        assert (found.pairs, found.cost) == assigned(detected, truth, radius)
        assert found.truth.sum() == found.pairs
        assert not (found.partners & ~detected).any()
        assert not (found.truth & ~truth).any()
        back = match(truth, detected, radius=radius)
        assert (back.pairs, back.cost) == (found.pairs, found.cost)


def test_lines_beside_each_other_are_matched_exactly():
    """Long chains, where a pair more moves many others."""
    draw = np.random.default_rng(3)
    for seed in range(3):
        _, (truth, detected) = made_photo(seed, height=60, width=70, people=2)
        detected = detected & (draw.random(detected.shape) < 0.9)
        found = match(detected, truth, radius=3.2)
        assert (found.pairs, found.cost) == assigned(detected, truth, 3.2)


def test_a_pair_is_within_the_radius_to_the_last_bit():
    detected, truth = points((9, 9), (1, 1)), points((9, 9), (4, 5))
    assert match(detected, truth, radius=5.0).pairs == 1
    assert match(detected, truth, radius=5.0).cost == 500
    assert match(detected, truth, radius=4.999).pairs == 0


def test_most_pairs_go_before_near_ones():
    """The middle pixels are one apart, but to pair them leaves the outer ones alone: two pairs of 2 are better."""
    detected, truth = points((1, 8), (0, 2), (0, 5)), points((1, 8), (0, 4), (0, 7))
    found = match(detected, truth, radius=2.0)
    assert (found.pairs, found.cost) == (2, 400)


def test_a_pixel_is_matched_once():
    detected, truth = points((3, 7), (1, 1), (1, 2), (1, 3), (1, 5)), points((3, 7), (1, 2))
    found = match(detected, truth, radius=4.0)
    assert (found.pairs, found.cost) == (1, 0)
    assert found.partners[1, 2]


def test_nothing_matches_nothing():
    empty, full = np.zeros((4, 5), bool), np.ones((4, 5), bool)
    for one, other in ((empty, empty), (empty, full), (full, empty)):
        assert match(one, other, radius=2.0).pairs == 0
    assert match(full, full, radius=2.0).cost == 0


@pytest.mark.parametrize("kind", ["noise", "lines"])
def test_every_threshold_counts_as_if_it_were_alone(kind):
    """Pixels come and go between thresholds, since thinner maps are not parts of one another."""
    draw = np.random.default_rng(7)
    for seed in range(3):
        _, boundaries = made_photo(seed, height=36, width=44, people=3)
        edges = draw.integers(0, 256, (36, 44), dtype=np.uint8)
        if kind == "lines":
            edges = np.where(boundaries[0] | np.roll(boundaries[1], 1, axis=0), edges, edges // 3).astype(np.uint8)
        counts = count(edges, boundaries, thresholds=THRESHOLDS, radius=2.5)
        assert counts.boundary == sum(one.sum() for one in boundaries)
        for k in range(0, len(THRESHOLDS), 14):
            lines = thin(edges >= level_of(THRESHOLDS[k]))
            apart = [assigned(lines, one, 2.5)[0] for one in boundaries]
            assert counts.detections[k] == lines.sum()
            assert counts.hits[k] == sum(apart)
            assert max(apart) <= counts.right[k] <= min(sum(apart), lines.sum())


def test_annotators_who_agree_count_each_pixel_once_for_precision():
    _, (drawn,) = made_photo(1, height=40, width=50, people=1)
    counts = count((255 * drawn).astype(np.uint8), [drawn] * 4, thresholds=(0.5, 1.0))
    total = int(drawn.sum())
    assert counts.hits.tolist() == [4 * total] * 2
    assert counts.boundary == 4 * total
    assert counts.right.tolist() == counts.detections.tolist() == [total] * 2


def test_radius_is_a_share_of_the_diagonal():
    """120 x 160 has a diagonal of 200: 1.5 pixels."""
    assert pytest.approx(1.5) == RADIUS * 200
    truth, edges = points((120, 160), (50, 50)), np.zeros((120, 160), np.uint8)
    edges[51, 51] = 255
    assert count(edges, [truth], thresholds=(0.5,)).hits.tolist() == [1]
    edges[51, 51], edges[50, 52] = 0, 255
    assert count(edges, [truth], thresholds=(0.5,)).hits.tolist() == [0]


def test_levels_are_the_least_of_255_that_reach_a_threshold():
    for k in range(1, 101):
        level = level_of(k / 100)
        assert 100 * level >= 255 * k > 100 * (level - 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_level_written_for_a_threshold_reaches_it_and_no_other(dtype):
    """The nearest of 255 falls short of its own threshold for 47 of these."""
    written = as_levels(np.array([THRESHOLDS], dtype).astype(np.float32))[0]
    for k, level in enumerate(written):
        reached = [level >= level_of(threshold) for threshold in THRESHOLDS]
        assert reached == [place <= k for place in range(len(THRESHOLDS))], f"threshold {THRESHOLDS[k]}"
    assert (np.rint(255 * np.array(THRESHOLDS)) < [level_of(threshold) for threshold in THRESHOLDS]).sum() == 47


def test_levels_reach_what_the_map_reaches_and_are_near():
    edges = np.random.default_rng(0).random((200, 300)).astype(np.float32)
    edges[0, :5] = 0, 1, 0.0099, 0.99, 0.9899
    levels = as_levels(edges)
    for threshold in THRESHOLDS:
        assert ((levels >= level_of(threshold)) == (edges >= np.float32(threshold))).all(), threshold
    assert np.abs(levels - 255.0 * edges).max() <= 1
    assert (levels[0, :2].tolist(), levels.min(), levels.max()) == ([0, 255], 0, 255)
