"""mIoU and accuracies against a plain restatement, with ignored pixels and absent classes."""

import numpy as np
import pytest

from samjax.scores.confusion import SemanticScores, confusion

CLASSES = 6


@pytest.fixture(scope="module")
def maps():
    draw = np.random.default_rng(0)
    truth, predicted = draw.integers(-1, CLASSES - 1, (5, 20, 30)), draw.integers(0, CLASSES - 1, (5, 20, 30))
    truth[truth == 3] = 2  # class 3 is predicted and never there; class 5 is neither
    return truth, predicted


def test_scores_are_those_of_sets_of_pixels(maps):
    truth, predicted = maps
    matrix = sum(confusion(*pair, classes=CLASSES) for pair in zip(*maps, strict=True))
    scores, counted = SemanticScores(matrix=matrix), truth >= 0
    ious, accuracies = [], []
    for number in range(CLASSES):
        own, found = (truth == number) & counted, (predicted == number) & counted
        if (own | found).any():
            ious.append((own & found).sum() / (own | found).sum())
            assert scores.of_class(number).iou == pytest.approx(ious[-1])
        if own.any():
            accuracies.append((own & found).sum() / own.sum())
            assert scores.of_class(number).accuracy == pytest.approx(accuracies[-1])
    assert len(ious) == CLASSES - 1
    assert len(accuracies) == CLASSES - 2
    assert scores.miou == pytest.approx(np.mean(ious))
    assert scores.mean_accuracy == pytest.approx(np.mean(accuracies))
    assert scores.pixel_accuracy == pytest.approx((truth == predicted)[counted].mean())
    assert np.isnan(scores.of_class(5).iou)


def test_scores_are_mmsegmentations(maps):
    """Of the same maps by IoUMetric of mmsegmentation 1.2.2, whose ignored label is 255: aAcc, mIoU, mAcc, each IoU."""
    scores = SemanticScores(matrix=sum(confusion(*pair, classes=CLASSES) for pair in zip(*maps, strict=True)))
    totals = scores.pixel_accuracy, scores.miou, scores.mean_accuracy
    np.testing.assert_allclose(totals, [0.212614044547081, 0.10205762684345246, 0.20915309339761734], rtol=1e-6)
    ious = [scores.of_class(number).iou for number in range(CLASSES)]
    np.testing.assert_allclose(ious, [0.10663765, 0.11060948, 0.17571644, 0.0, 0.11732456, np.nan], rtol=1e-6)


def test_nothing_counted_has_no_score():
    scores = SemanticScores(matrix=confusion(np.full(4, -1), np.zeros(4, int), classes=2))
    assert np.isnan([scores.miou, scores.mean_accuracy, scores.pixel_accuracy]).all()


@pytest.mark.parametrize(("truth", "predicted"), [([2], [0]), ([0], [2]), ([0], [-1])])
def test_what_is_no_class_is_refused(truth, predicted):
    with pytest.raises(ValueError, match="classes are 0 to 1"):
        confusion(np.array(truth), np.array(predicted), classes=2)
