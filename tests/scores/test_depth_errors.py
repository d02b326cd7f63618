"""Errors of depth against their definitions, the crops, and alignment of relative depth."""

import math

import numpy as np
import pytest

from samjax.core.errors import UserError
from samjax.scores.depth_errors import (
    KITTI,
    NYU,
    DepthCrop,
    DepthErrors,
    DepthProtocol,
    aligned_depth,
    depth_errors,
    mean_errors,
    median_aligned_depth,
)

WHOLE = DepthProtocol(farthest=10.0)
DRAW = np.random.default_rng(0)
TRUTH = DRAW.uniform(0.5, 12.0, (30, 40)).astype(np.float32)
TRUTH[DRAW.random(TRUTH.shape) < 0.2] = 0.0
DEPTH = (TRUTH * DRAW.uniform(0.5, 2.1, TRUTH.shape)).astype(np.float32)


def test_errors_are_those_of_their_words():
    pairs = [
        (min(max(float(d), 1e-3), 10.0), float(t))
        for d, t in zip(DEPTH.ravel(), TRUTH.ravel(), strict=True)
        if 1e-3 < t < 10
    ]
    assert 0 < len(pairs) < TRUTH.size
    found = depth_errors(DEPTH, TRUTH, WHOLE)
    expected = {
        "abs_rel": [abs(d - t) / t for d, t in pairs],
        "log10": [abs(math.log10(d) - math.log10(t)) for d, t in pairs],
        **{f"delta{k}": [max(d / t, t / d) < 1.25**k for d, t in pairs] for k in (1, 2, 3)},
    }
    for name, of_pixels in expected.items():
        np.testing.assert_allclose(getattr(found, name), math.fsum(of_pixels) / len(pairs), rtol=1e-9, err_msg=name)
    np.testing.assert_allclose(found.rmse, math.sqrt(math.fsum((d - t) ** 2 for d, t in pairs) / len(pairs)), rtol=1e-9)
    assert 0 < found.delta1 < found.delta2 < found.delta3 < 1


def test_bounds_cut_predictions_off():
    """Infinitely far is as far as the protocol goes, NaN and what is behind the camera as near."""
    truth = np.full((1, 4), 5.0, np.float32)
    found = depth_errors(np.array([[np.inf, 50.0, np.nan, -3.0]], np.float32), truth, WHOLE)
    np.testing.assert_allclose(found.abs_rel, (1.0 + 1.0 + 2 * (5 - 1e-3) / 5) / 4, rtol=1e-9)


@pytest.mark.parametrize(
    ("protocol", "sides", "rows", "columns"),
    [
        (NYU, (480, 640), (45, 471), (41, 601)),
        (KITTI, (375, 1242), (153, 371), (44, 1197)),
        (DepthProtocol(farthest=80.0, crop=DepthCrop.EIGEN_KITTI), (375, 1242), (124, 342), (44, 1197)),
        (WHOLE, (7, 9), (0, 7), (0, 9)),
    ],
)
def test_crops(protocol, sides, rows, columns):
    """Rows and columns by the published code: the last is excluded."""
    expected = np.zeros(sides, bool)
    expected[slice(*rows), slice(*columns)] = True
    np.testing.assert_array_equal(protocol.mask(np.full(sides, 5.0, np.float32)), expected)
    nearer, farther = (np.full(sides, depth, np.float32) for depth in (0.0, protocol.farthest))
    assert not protocol.mask(nearer).any()
    assert not protocol.mask(farther).any()
    assert not protocol.mask(np.full(sides, np.nan, np.float32)).any()


def test_a_crop_of_pixels_needs_its_size():
    with pytest.raises(UserError, match=r"depth map of 240 x 320 pixels cannot be cropped .* resize predictions"):
        NYU.mask(np.ones((240, 320), np.float32))


def test_relative_depth_is_aligned_by_the_truth():
    """Inverse depth of any scale and shift becomes the truth; as if by the normal equations where it is not exact."""
    known = np.where(TRUTH > 0, TRUTH, 3.0)
    inverse = 40.0 * (1 / known) - 7.0
    depth = aligned_depth(inverse, TRUTH, WHOLE)
    counted = WHOLE.mask(TRUTH)
    np.testing.assert_allclose(depth[counted], TRUTH[counted], rtol=1e-5)
    noisy = inverse + DRAW.normal(size=inverse.shape)
    system = np.stack([noisy[counted], np.ones(counted.sum())], axis=1)
    (scale, shift), *_ = np.linalg.lstsq(system, 1 / TRUTH[counted].astype(np.float64), rcond=None)
    expected = 1 / np.maximum(scale * noisy + shift, 0.1)
    np.testing.assert_allclose(aligned_depth(noisy, TRUTH, WHOLE), expected, rtol=1e-9)
    assert depth.max() <= 10.0 + 1e-9


def test_pixels_that_are_not_scored_do_not_align():
    outside = np.where(WHOLE.mask(TRUTH), 1 / np.where(TRUTH > 0, TRUTH, 1.0), 1e6)
    found = depth_errors(aligned_depth(outside, TRUTH, WHOLE), TRUTH, WHOLE)
    assert found.abs_rel < 1e-5


def test_a_constant_prediction_is_aligned_to_the_mean():
    found = aligned_depth(np.ones(TRUTH.shape), TRUTH, WHOLE)
    np.testing.assert_allclose(found, 1 / (1 / TRUTH[WHOLE.mask(TRUTH)].astype(np.float64)).mean(), rtol=1e-6)


def test_depth_of_one_factor_is_aligned_by_medians():
    """Scale counts for nothing; a shift is not found; what has no inverse is as far as the protocol goes."""
    counted, known = WHOLE.mask(TRUTH), np.where(TRUTH > 0, TRUTH, 3.0)
    depth = median_aligned_depth(40.0 / known, TRUTH, WHOLE)
    np.testing.assert_allclose(depth[counted], TRUTH[counted], rtol=1e-5)
    shifted = median_aligned_depth(1 / known + 0.2, TRUTH, WHOLE)
    assert np.median(shifted[counted]) == pytest.approx(np.median(TRUTH[counted]), rel=1e-5)
    assert np.abs(shifted[counted] - TRUTH[counted]).max() > 0.1
    inverse = np.where(counted, 1 / known, -1.0)
    assert (median_aligned_depth(inverse, TRUTH, WHOLE)[~counted] == 10.0).all()
    assert (median_aligned_depth(np.zeros(TRUTH.shape), TRUTH, WHOLE) == 10.0).all()


def test_photos_count_alike():
    """One without a known pixel does not count; none at all is an error."""
    empty = np.zeros((4, 4), np.float32)
    assert depth_errors(np.ones((4, 4)), empty, WHOLE) is None
    assert np.isfinite(aligned_depth(np.ones((4, 4)), empty, WHOLE)).all()
    one, other = (DepthErrors(abs_rel=x, rmse=x, log10=x, delta1=x, delta2=x, delta3=x) for x in (0.25, 0.75))
    assert mean_errors([one, None, other]) == DepthErrors(
        abs_rel=0.5, rmse=0.5, log10=0.5, delta1=0.5, delta2=0.5, delta3=0.5
    )
    with pytest.raises(UserError, match="nothing to score"):
        mean_errors([None])
