"""The parts of the mask generator, each against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.bilinear import through_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from restated import box_of, crop_windows, greedy, without_regions

from samjax.data.masks import rle
from samjax.data.masks.packing import fitted_size
from samjax.predict.automatic.crops import Crop, crops_of, point_grid
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.mask_statistics import draw, measure
from samjax.predict.automatic.nms import kept_boxes
from samjax.predict.automatic.run_lengths import encode_columns, encode_words
from samjax.predict.automatic.specks import without_specks
from samjax.predict.automatic.tiles import tilings


def boxes_and_scores():
    corner = st.integers(0, 12)
    box = st.tuples(corner, corner, corner, corner).map(
        lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
    )
    return st.lists(st.tuples(box, st.sampled_from([0.1, 0.5, 0.5000001, 0.9])), max_size=16)


@settings(max_examples=150)
@given(boxes_and_scores(), st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0]))
def test_suppression_is_the_greedy_loop(drawn, threshold):
    """Equal scores, equal boxes, boxes without an area, overlaps of exactly the threshold."""
    boxes = np.array([box for box, _ in drawn], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in drawn], np.float32)
    assert kept_boxes(boxes, scores, threshold=threshold).tolist() == greedy(boxes, scores, threshold)


def test_an_overlap_of_the_threshold_suppresses_nothing():
    """0.7 is no float32: the nearest below it is an IoU of 7 in 10, the nearest above 0.1 one of 1 in 10."""
    for threshold, width in ((0.7, 7), (0.1, 1)):
        boxes = np.array([[0, 0, 10, 1], [0, 0, width, 1]], np.float32)
        exceeds = float(np.float32(width) / np.float32(10)) > threshold
        assert len(kept_boxes(boxes, np.array([2, 1], np.float32), threshold=threshold)) == (1 if exceeds else 2)


def test_crops_of_a_photo_of_sa1b():
    """1500 x 2250 in two layers: 1 + 4 + 16 crops that overlap by 512 and 256 pixels."""
    crops = crops_of(height=1500, width=2250, layers=2, overlap=512 / 1500)
    assert [len([crop for crop in crops if crop.layer == layer]) for layer in range(3)] == [1, 4, 16]
    assert crops[0].box == (0, 0, 2250, 1500)
    assert [crop.box for crop in crops[1:5]] == [
        (0, 0, 1381, 1006),
        (0, 494, 1381, 1500),
        (869, 0, 2250, 1006),
        (869, 494, 2250, 1500),
    ]
    assert crops[5].box == (0, 0, 755, 567)
    assert (crops[5].x1 - crops[9].x0, crops[5].y1 - crops[6].y0) == (256, 256)


@settings(max_examples=60)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 3), st.sampled_from([0.0, 512 / 1500, 0.9]))
def test_crops_cover_the_photo(height, width, layers, overlap):
    """Each layer does; and they are the published ones, without those that have no pixel."""
    crops = crops_of(height=height, width=width, layers=layers, overlap=overlap)
    config = GeneratorConfig(crop_layers=layers, crop_overlap=overlap)
    published = [(layer, box) for layer, box in crop_windows(height, width, config)]
    published = [(layer, box) for layer, box in published if box[0] < box[2] and box[1] < box[3]]
    assert [(crop.layer, crop.box) for crop in crops] == published
    for layer in range(layers + 1):
        seen = np.zeros((height, width), bool)
        for crop in crops:
            if crop.layer == layer:
                seen[crop.y0 : crop.y1, crop.x0 : crop.x1] = True
        assert seen.all()


def test_points_are_cell_centres():
    grid = point_grid(4)
    np.testing.assert_allclose(
        grid[:5], [[0.125, 0.125], [0.375, 0.125], [0.625, 0.125], [0.875, 0.125], [0.125, 0.375]]
    )
    assert [GeneratorConfig.sa1b().points_in(layer) for layer in range(3)] == [32, 16, 8]


def smooth(count: int, low: tuple[int, int]) -> np.ndarray:
    """Return logits like a model's: hills of several widths, some masks nearly empty, some nearly full."""
    draw_ = np.random.default_rng(0)
    y, x = np.mgrid[: low[0], : low[1]]
    logits = []
    for k in range(count):
        hills = sum(
            draw_.normal()
            * np.sin(draw_.uniform(0.05, 0.6) * x + draw_.uniform(0, 6))
            * np.cos(draw_.uniform(0.05, 0.6) * y + draw_.uniform(0, 6))
            for _ in range(4)
        )
        logits.append(6 * hills + 4 * (k % 5 - 2))
    return np.stack(logits).astype(np.float32)


@pytest.mark.parametrize(
    ("photo", "frame", "low"),
    [((150, 225), (256, 256), (64, 64)), ((40, 21), (256, 256), (64, 64)), ((97, 300), (80, 136), (40, 68))],
)
def test_measured_and_drawn_in_tiles_as_in_full(photo, frame, low):
    """Enlarged, reduced, and in a frame that is not square; what was not wanted is zeros."""
    fitted = fitted_size(height=photo[0], width=photo[1], frame=frame)
    tiling = jax.tree.map(lambda x: jnp.asarray(x[0]), tilings([photo], low=low, frame=frame, fitted=[fitted]))
    logits = smooth(20, low)
    wanted = np.arange(20) % 4 != 3
    found = jax.jit(measure, static_argnames="offset")(jnp.asarray(logits), jnp.asarray(wanted), tiling, offset=1.0)
    words = np.asarray(jax.jit(draw)(jnp.asarray(logits), jnp.asarray(wanted), tiling))
    areas = []
    for k in range(20):
        full = through_frame(logits[k], frame=frame, fitted=fitted, photo=photo)
        if not wanted[k]:
            assert found.area[k] == found.area_high[k] == found.area_low[k] == 0
            assert not words[k].any()
            continue
        unsure = [np.count_nonzero(np.abs(full - level) < 1e-5 * np.abs(full).max()) for level in (0, 1, -1)]
        for measured, level, room in zip(
            (found.area, found.area_high, found.area_low), (0, 1, -1), unsure, strict=True
        ):
            assert abs(int(measured[k]) - np.count_nonzero(full > level)) <= room
        areas.append(int(found.area[k]))
        box = tuple(np.asarray(found.box[k]).tolist())
        coded = encode_words(words[k], box=box, crop=Crop(layer=0, x0=0, y0=0, x1=photo[1], y1=photo[0]), photo=photo)
        mask = rle.decode(coded["counts"], height=photo[0], width=photo[1])
        assert mask.sum() == found.area[k]
        assert np.count_nonzero(mask != (full > 0)) <= unsure[0]
        assert list(box) == box_of(mask)
    assert min(areas) == 0 < max(areas)


@settings(max_examples=150)
@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9)), st.data())
def test_run_lengths_of_a_part_are_those_of_the_photo(part, data):
    """Runs go on from one column to the next only where the part is as high as the photo."""
    height = part.shape[1] + data.draw(st.integers(0, 3))
    width = part.shape[0] + data.draw(st.integers(0, 3))
    x = data.draw(st.integers(0, width - part.shape[0]))
    y = data.draw(st.integers(0, height - part.shape[1]))
    mask = np.zeros((height, width), bool)
    mask[y : y + part.shape[1], x : x + part.shape[0]] = part.T
    assert encode_columns(part, corner=(x, y), photo=(height, width)) == rle.encode(mask)


@settings(max_examples=200)
@given(arrays.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))), st.integers(0, 40))
def test_specks_are_what_labels_of_the_whole_photo_say(mask, min_area):
    """Wherever the mask is, and whatever the holes around it go on to."""
    filled, first = without_regions(mask, min_area, holes=True)
    expected, second = without_regions(filled, min_area, holes=False)
    found = without_specks(mask, min_area=min_area)
    np.testing.assert_array_equal(found.mask, expected)
    assert found.differs == (first or second)


def test_specks_by_hand():
    """A hole of 3 pixels is filled, one of 4 stays; an island of 3 goes, a corner joins; of small islands one stays."""
    mask = np.zeros((30, 40), bool)
    mask[5:20, 5:20] = True
    mask[7, 7:10] = False
    mask[12:14, 12:14] = False
    mask[25, 30:33] = True
    mask[20, 20] = True
    cleaned = without_specks(mask, min_area=4)
    expected = mask.copy()
    expected[7, 7:10], expected[25, 30:33] = True, False
    np.testing.assert_array_equal(cleaned.mask, expected)
    assert cleaned.differs
    assert not without_specks(expected, min_area=4).differs
    small = np.zeros((30, 40), bool)
    small[3, 3], small[9, 9:11] = True, True
    kept = without_specks(small, min_area=4)
    assert kept.differs
    assert kept.mask.sum() == 2
