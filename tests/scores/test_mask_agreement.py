"""Masks before and after correction: each is found again, and its IoU is that of the pixels."""

import numpy as np
import pytest

from samjax.data.masks import rle
from samjax.data.masks.mask_uuid import generated_uuid
from samjax.scores.mask_agreement import Agreement, compare_masks, join


def annotation(columns: int, **keys):
    mask = np.zeros((10, 20), bool)
    mask[:, :columns] = True
    return {"segmentation": rle.encode(mask), **keys}


def test_iou_is_that_of_the_pixels():
    before = [annotation(10, id=1), annotation(8, id=2), annotation(5, id=3)]
    after = [annotation(10, id=1), annotation(10, id=2), annotation(4, id=3)]
    found = compare_masks(before, after, photo=7)
    np.testing.assert_allclose(found.ious, [1, 0.8, 0.8])
    assert (found.deletions, found.additions) == (0, 0)


def test_masks_are_found_by_uuid_before_id_and_in_any_order():
    """People's tools number masks anew, in the order in which they are accepted."""
    before = [annotation(10, id=700_000), annotation(4, id=700_001, uuid="mine"), annotation(2, id=700_002)]
    first = generated_uuid(7, 0, before[0]["segmentation"]["counts"])
    after = [annotation(3, id=700_000, uuid="mine"), annotation(10, id=700_001, uuid=first), annotation(9, uuid="new")]
    found = compare_masks(before, after, photo=7)
    np.testing.assert_allclose(found.ious, [1, 0.75])
    assert (found.deletions, found.additions) == (1, 1)
    assert compare_masks(before, after, photo=8).deletions == 2


def test_a_mask_is_paired_once():
    found = compare_masks([annotation(10, id=1)], [annotation(10, id=1), annotation(5, id=1)], photo=7)
    np.testing.assert_allclose(found.ious, [1])
    assert (found.deletions, found.additions) == (0, 1)


def test_masks_that_wait_are_in_no_pair():
    """What nobody has looked at agrees with itself, and would make the figures better than they are."""
    before = [annotation(10, id=number) for number in range(5)]
    after = [
        annotation(10, id=0, imported=True),
        annotation(10, id=1, imported=True, verdict="yes"),
        annotation(10, id=2, imported=True, verdict="redo"),
        annotation(8, id=3, revision=2),
        annotation(8, id=4, revision=2, verdict="redo"),
    ]
    found = compare_masks(before, after, photo=7)
    np.testing.assert_allclose(found.ious, [1, 0.8])
    assert (found.deletions, found.additions, found.waiting, found.to_json()["waiting"]) == (0, 0, 3, 3)
    done = compare_masks(before, after, photo=7, is_finished=True)
    assert (len(done.ious), done.waiting) == (5, 0)
    assert join([found, done, found]).waiting == 6


def test_shares_are_of_pairs_strictly_above():
    found = Agreement(ious=np.array([1.0, 0.95, 0.9, 0.8, 0.75, 0.2]), deletions=3, additions=2)
    assert found.share_above(0.9) == pytest.approx(2 / 6)
    assert found.share_above(0.75) == pytest.approx(4 / 6)
    figures = found.to_json()
    assert (figures["above_0.90"], figures["above_0.75"]) == (pytest.approx(2 / 6), pytest.approx(4 / 6))
    assert (figures["pairs"], figures["unchanged"], figures["deleted"], figures["added"]) == (6, 1, 3, 2)
    assert (figures["mean_iou"], figures["median_iou"]) == (pytest.approx(4.6 / 6), pytest.approx(0.85))


def test_photos_join_and_nothing_has_no_share():
    parts = [
        Agreement(ious=np.array([0.5]), deletions=1, additions=0),
        Agreement(ious=np.zeros(0), deletions=2, additions=3),
    ]
    whole = join(parts)
    assert (list(whole.ious), whole.deletions, whole.additions) == ([0.5], 3, 3)
    assert join([]).to_json()["above_0.90"] is None
