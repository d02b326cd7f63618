"""Resizing a tile at a time equals resizing at once."""

import numpy as np
import pytest

from samjax.nn.interpolate import Method, matrix
from samjax.predict.semantic.bands import bands, cut


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("old", "new"), [((7, 11), (50, 83)), ((64, 40), (64, 40)), ((90, 131), (33, 47))])
def test_tiles_equal_the_whole(old, new, mirrored):
    picture = np.random.default_rng(0).normal(size=(*old, 2)).astype(np.float32)
    rows, columns = (
        matrix(one, other, method=Method.BILINEAR).astype(np.float32) for one, other in zip(old, new, strict=True)
    )
    columns = columns[::-1] if mirrored else columns
    tile = 16
    strips = [
        np.concatenate(
            [
                np.einsum("rh,hwk,cw->rck", down.weights, cut(picture, down, across), across.weights)
                for across in bands(columns, tile)
            ],
            axis=1,
        )
        for down in bands(rows, tile)
    ]
    whole = np.einsum("rh,hwk,cw->rck", rows, picture, columns)
    np.testing.assert_allclose(np.concatenate(strips)[: new[0], : new[1]], whole, atol=1e-6)


def test_bands_are_no_longer_than_their_pixels_need():
    """Sixteen pixels of an enlarged picture see six of the picture, rounded up to a multiple of eight."""
    parts = bands(matrix(64, 256, method=Method.BILINEAR).astype(np.float32), 16)
    assert {one.weights.shape for one in parts} == {(16, 8)}
