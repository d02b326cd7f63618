"""The benchmark's figures, computed by hand."""

import numpy as np
import pytest
from helpers.made_bsds import made_photo

from samjax.eval.protocols.edges.edge_scores import THRESHOLDS, best_of, score
from samjax.eval.protocols.edges.matching import Counts, count


def stairs(*steps: tuple[int, int, int, int], boundary: int) -> Counts:
    """Counts that are constant between thresholds: each step is how many thresholds, found, right and detected."""
    columns = [np.repeat([step[part] for step in steps], [step[0] for step in steps]) for part in (1, 2, 3)]
    assert len(columns[0]) == len(THRESHOLDS)
    found, right, detected = columns
    return Counts(hits=found, boundary=boundary, right=right, detections=detected)


def test_figures_by_hand():
    """Recall 0.8 with precision 0.4 at low thresholds, 0.4 with 0.8 at high ones."""
    scores = score([stairs((50, 80, 40, 100), (49, 40, 40, 50), boundary=100)])
    # Halfway between the two, recall and precision are 0.6: no better point lies on the line.
    assert scores.ods.f == pytest.approx(0.6, abs=1e-4)
    assert scores.ods.threshold == pytest.approx(0.505, abs=1e-3)
    assert scores.ois == pytest.approx(2 * 0.8 * 0.4 / 1.2)
    # Precision falls from 0.8 at recall 0.40 to 0.4 at 0.80: 41 places, a mean of 0.6.
    assert scores.average_precision == pytest.approx(41 * 0.6 / 100)
    assert scores.r50 == pytest.approx(0.7)


def test_each_photo_at_its_own_best():
    """One is good at low thresholds, the other at high ones: together no threshold is."""
    low = stairs((40, 100, 100, 100), (59, 0, 0, 0), boundary=100)
    high = stairs((60, 100, 100, 1000), (39, 100, 100, 100), boundary=100)
    scores = score([low, high])
    assert scores.ois == 1.0
    assert best_of(low).threshold == THRESHOLDS[0]
    assert best_of(high).threshold == THRESHOLDS[60]
    recall, precision = 200 / 200, 200 / 1100
    assert scores.ods.f == pytest.approx(max(2 * recall * precision / (recall + precision), 2 * 0.5 * 1.0 / 1.5))


def test_photos_are_summed_not_averaged():
    large, small = stairs((99, 90, 90, 100), boundary=100), stairs((99, 0, 0, 10), boundary=10)
    scores = score([large, small])
    assert scores.recall[0] == pytest.approx(90 / 110)
    assert scores.precision[0] == pytest.approx(90 / 110)


def test_perfect_edges_are_perfect():
    photos = []
    for seed in range(2):
        _, (drawn,) = made_photo(seed, height=40, width=50, people=1)
        photos.append(count((255 * drawn).astype(np.uint8), [drawn] * 3, thresholds=THRESHOLDS))
    scores = score(photos)
    assert scores.ods.f == scores.ois == 1.0
    assert scores.r50 == 1.0
    assert scores.average_precision is None, "one recall has no area below it"


def test_strength_by_agreement_is_perfect_at_its_best_and_has_an_area():
    """Edges as strong as the share of annotators who drew them: annotators in full, one after the other."""
    photo = [made_photo(4, height=40, width=50, people=1)[1][0]]
    wrong = np.roll(photo[0], 9, axis=1) & ~photo[0]
    edges = np.where(photo[0], 200, np.where(wrong, 100, 0)).astype(np.uint8)
    scores = score([count(edges, photo, thresholds=THRESHOLDS, radius=0.0)])
    assert scores.ods.f == 1.0
    assert scores.ods.threshold > 100 / 255


def test_nothing_detected_is_nothing():
    scores = score([stairs((99, 0, 0, 0), boundary=100)])
    assert scores.ods.f == scores.ois == 0.0
    assert scores.average_precision is None
    assert scores.r50 is None


def test_nobody_saw_a_boundary():
    scores = score([stairs((99, 0, 0, 10), boundary=0)])
    assert scores.ods.f == 0.0
    assert np.isfinite(scores.recall).all()
