import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samjax.data.masks import rle
from samjax.data.masks.packing import nearest_positions, pack_mask, resize_mask
from samjax.data.masks.resample import MaskGrid, resample


def paint(mask, **grid):
    codes = rle.join([rle.encode(mask)["counts"]])
    painted = MaskGrid(height=mask.shape[0], **grid).paint(codes, np.zeros(1, np.int64), most=1)
    if not len(painted.masks):
        assert painted.empty == 1
        return np.zeros(grid["frame"], bool)
    assert painted.empty == 0
    return np.unpackbits(painted.masks[0], axis=-1, count=grid["frame"][1]).astype(bool)


@st.composite
def masks(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.random((height, width)) < draw(st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0]))


@settings(max_examples=300)
@given(mask=masks(), size=st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_resampled_runs_are_the_decoded_mask_resized(mask, size):
    """Bit for bit, smaller or larger, at the same sample positions."""
    height, width = mask.shape
    packed = resample(rle.encode(mask)["counts"], height=height, width=width, size=size)
    np.testing.assert_array_equal(packed, pack_mask(resize_mask(mask, size=size), frame=size))


@settings(max_examples=300)
@given(mask=masks(), data=st.data())
def test_any_rows_and_columns_in_order_can_be_sampled(mask, data):
    """A window of the mask, with repeats, mirrored either way or not, in the corner of a larger frame."""
    places = [
        np.sort(data.draw(st.lists(st.integers(0, side - 1), min_size=1, max_size=50), "positions"))
        for side in mask.shape
    ]
    rows, columns = places
    frame = (len(rows) + data.draw(st.integers(0, 3)), len(columns) + data.draw(st.integers(0, 12)))
    mirrored, upside_down = data.draw(st.booleans()), data.draw(st.booleans())
    expected = np.zeros(frame, bool)
    expected[: len(rows), : len(columns)] = mask[
        (rows[::-1] if upside_down else rows)[:, None], columns[::-1] if mirrored else columns
    ]
    found = paint(mask, rows=rows, columns=columns, frame=frame, mirrored=mirrored, upside_down=upside_down)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [(256, 256), (1024, 683), (97, 33)])
def test_real_masks_resample_exactly(photos, size):
    with tarfile.open(photos / "val/sa_000000.tar") as shard:
        described = [json.load(shard.extractfile(name)) for name in shard.getnames() if name.endswith(".json")][:8]
    for row in described:
        counts = [annotation["segmentation"]["counts"] for annotation in row["annotations"]]
        height, width = row["annotations"][0]["segmentation"]["size"]
        codes = rle.join(counts)
        assert rle.measure(codes, height=height, width=width).tolist() == [one["area"] for one in row["annotations"]]
        grid = MaskGrid.to_size(height=height, width=width, size=size)
        painted = grid.paint(codes, np.arange(len(counts)), most=len(counts))
        decoded = [resize_mask(rle.decode(code, height=height, width=width), size=size) for code in counts]
        expected = [pack_mask(mask, frame=size) for mask in decoded if mask.any()]
        np.testing.assert_array_equal(painted.masks, expected)
        assert painted.empty == len(counts) - len(expected)


def test_zero_length_runs_are_runs():
    """An encoder may write them; pycocotools reads them, and so does this."""
    counts = "".join(chr(48 + digit) for digit in [2, 0, 1, 3, 0, 0])  # 2 0 1 3 1 3, the last three as differences
    mask = rle.decode(counts, height=5, width=2)
    assert mask.T.reshape(-1).tolist() == [False] * 3 + [True] * 3 + [False] + [True] * 3
    packed = resample(counts, height=5, width=2, size=(5, 2))
    np.testing.assert_array_equal(packed, pack_mask(mask, frame=(5, 2)))


def test_no_more_masks_are_looked_at_than_asked_for():
    corners = np.zeros((3, 6, 6), bool)
    corners[1, 0, 0] = corners[2, 5, 5] = True
    codes = rle.join([rle.encode(mask)["counts"] for mask in corners])
    grid = MaskGrid.to_size(height=6, width=6, size=(6, 6))
    painted = grid.paint(codes, np.array([2, 0, 1]), most=1)
    assert (len(painted.masks), painted.empty) == (1, 0)
    painted = grid.paint(codes, np.array([0, 1, 2]), most=3)
    assert (len(painted.masks), painted.empty) == (2, 1)
    assert painted.masks[1, 5, 0] == 4


def test_samples_that_do_not_fit_the_frame_are_refused():
    with pytest.raises(ValueError, match="2 x 9 samples do not fit a frame of 2 x 8"):
        MaskGrid(height=4, rows=np.arange(2), columns=nearest_positions(source=4, target=9), frame=(2, 8))


UNCACHED = """
import sys, pathlib
import numba.core.caching as caching
caching.CacheImpl._locator_classes[:] = []  # no folder can be written
from samjax.data.masks.resample import resample
assert resample("T1", height=6, width=6, size=(3, 3)).tolist() == [[0], [0], [0]]
"""


def test_without_a_folder_for_the_cache_it_still_runs():
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-W", "error", "-c", UNCACHED], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
