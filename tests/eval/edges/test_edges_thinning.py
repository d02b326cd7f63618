"""Thinning leaves lines one pixel wide that hang together as what they are of."""

import numpy as np
import pytest
from scipy import ndimage

from samjax.eval.protocols.edges.thinning import thin

EIGHT = np.ones((3, 3))


def blobs(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).random((60, 70))
    return ndimage.gaussian_filter(noise, 1 + seed % 4) > 0.5


def test_a_bar_becomes_its_middle_line():
    picture = np.zeros((9, 20), bool)
    picture[3:6, 2:18] = True
    expected = np.zeros_like(picture)
    expected[4, 3:17] = True  # each end gives up a pixel
    assert (thin(picture) == expected).all()


def test_of_two_rows_the_lower_stays_without_its_right_end():
    """By hand: the first turn removes what has nothing above it, and what has neither a right nor a lower neighbour."""
    picture = np.zeros((6, 9), bool)
    picture[2:4, 1:7] = True
    expected = np.zeros_like(picture)
    expected[3, 1:6] = True
    assert (thin(picture) == expected).all()


@pytest.mark.parametrize("seed", range(8))
def test_pieces_and_holes_stay_as_many(seed):
    picture = blobs(seed)
    lines = thin(picture)
    assert not (lines & ~picture).any()
    assert ndimage.label(lines, EIGHT)[1] == ndimage.label(picture, EIGHT)[1]
    around = [ndimage.label(~np.pad(one, 1))[1] for one in (picture, lines)]  # holes hang together by four neighbours
    assert around[0] == around[1]


@pytest.mark.parametrize("seed", range(8))
def test_once_is_enough(seed):
    lines = thin(blobs(seed))
    assert (thin(lines) == lines).all()


@pytest.mark.parametrize("seed", range(8))
def test_lines_are_one_pixel_wide(seed):
    """No three by three is full, and two by twos are left at some crossings alone."""
    lines = thin(blobs(seed))
    assert lines.sum() < blobs(seed).sum() / 2
    assert not ndimage.minimum_filter(lines, size=3, mode="constant").any()
    squares = lines[:-1, :-1] & lines[1:, :-1] & lines[:-1, 1:] & lines[1:, 1:]
    assert squares.sum() < 0.02 * lines.sum()


def test_a_line_and_a_point_stay():
    picture = np.eye(12, dtype=bool)
    picture[0, 11] = True
    assert (thin(picture) == picture).all()
