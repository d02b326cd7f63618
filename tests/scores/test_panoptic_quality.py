"""Panoptic quality against a plain restatement of the public evaluation, on random maps with void and crowds."""

import numpy as np
import pytest

from samjax.core.batches import NO_SEGMENT
from samjax.scores.panoptic_quality import PanopticCounter

CLASSES = 3


def random_photo(draw):
    """Return the truth and what was found: maps of blocks, of which the found one is partly the truth's."""
    truth = draw.integers(-1, 6, (6, 8)).repeat(4, 0).repeat(4, 1)
    found = np.where(draw.uniform(size=truth.shape) < 0.75, truth, draw.integers(-1, 6, truth.shape))
    found = np.where(found == 2, NO_SEGMENT, found)
    truth_classes, crowds = draw.integers(0, CLASSES, 6), draw.uniform(size=6) < 0.2
    found_classes = np.where(draw.uniform(size=6) < 0.7, truth_classes, draw.integers(0, CLASSES, 6))
    return truth, truth_classes.tolist(), found, found_classes.tolist(), crowds.tolist()


def plain(photos):
    """Return (matches, false positives, missed, sum of IoU) by class, segment by segment, by sets of pixels."""
    counts = np.zeros((4, CLASSES))
    for truth, truth_classes, found, found_classes, crowds in photos:
        true_pixels = [set(np.flatnonzero(truth == one)) for one in range(len(truth_classes))]
        pixels = [set(np.flatnonzero(found == one)) for one in range(len(found_classes))]
        void = set(np.flatnonzero(truth == NO_SEGMENT))
        matched, matched_true = set(), set()
        for n, own in enumerate(pixels):
            for m, true in enumerate(true_pixels):
                if not own or crowds[m] or truth_classes[m] != found_classes[n]:
                    continue
                iou = len(own & true) / max(len((own | true) - (void - true)), 1)
                if iou > 0.5:
                    counts[0, found_classes[n]] += 1
                    counts[3, found_classes[n]] += iou
                    matched.add(n)
                    matched_true.add(m)
        crowd_of = {truth_classes[m]: true_pixels[m] for m in range(len(truth_classes)) if crowds[m]}
        for m, one in enumerate(truth_classes):
            counts[2, one] += m not in matched_true and not crowds[m]
        for n, own in enumerate(pixels):
            if own and n not in matched:
                excused = len(own & void) + len(own & crowd_of.get(found_classes[n], set()))
                counts[1, found_classes[n]] += excused / len(own) <= 0.5
    return counts


def test_counts_are_those_of_the_public_rules():
    draw = np.random.default_rng(0)
    photos, counter = [random_photo(draw) for _ in range(60)], PanopticCounter(CLASSES)
    for truth, truth_classes, found, found_classes, crowds in photos:
        counter.add(truth, truth_classes, found, found_classes, crowds=crowds)
    matches, false_positives, missed, iou = plain(photos)
    assert matches.min() > 10 < false_positives.min()
    np.testing.assert_array_equal(counter.matches, matches)
    np.testing.assert_array_equal(counter.false_positives, false_positives)
    np.testing.assert_array_equal(counter.missed, missed)
    np.testing.assert_allclose(counter.iou, iou)
    quality = counter.quality()
    assert quality.pq == pytest.approx(np.mean(iou / (matches + false_positives / 2 + missed / 2)))
    own = counter.quality(np.array([True, False, False]))
    assert own.pq == pytest.approx(own.sq * own.rq)
    assert own.classes == 1


def test_pixels_without_truth_neither_help_nor_hurt():
    truth = np.full((1, 10), NO_SEGMENT)
    truth[0, :4] = 0
    found, counter = np.zeros((1, 10), int), PanopticCounter(1)
    counter.add(truth, [0], found, [0])
    assert counter.quality().pq == 1.0


def test_what_lies_in_a_crowd_is_excused_and_a_crowd_is_not_missed():
    truth, found = np.array([[0] * 10 + [NO_SEGMENT] * 2]), np.array([[0] * 3 + [1] * 3 + [NO_SEGMENT] * 6])
    counter = PanopticCounter(2)
    counter.add(truth, [1], found, [1, 0], crowds=[True])
    assert counter.false_positives.tolist() == [1, 0]
    assert counter.missed.tolist() == [0, 0]
    assert counter.quality(np.array([False, True])).classes == 0


def test_photos_without_segments_count_nothing():
    counter = PanopticCounter(2)
    counter.add(np.full((2, 2), NO_SEGMENT), [], np.full((2, 2), NO_SEGMENT), [])
    assert counter.quality().pq == 0.0
    counter.add(np.full((2, 2), NO_SEGMENT), [], np.zeros((2, 2), int), [1])
    assert counter.false_positives.tolist() == [0, 0]
