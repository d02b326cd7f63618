import numpy as np
import pytest

from samjax.eval import histogram
from samjax.eval.histogram import Histogram, Scale, Tick, draw_histograms


def drawn(values, **settings):
    settings = {"title": "", "axis": "", "counted": "", "median": "", **settings}
    picture = draw_histograms([Histogram(values=np.asarray(values), **settings)])
    assert picture.shape == (*histogram.PANEL, 3)
    return picture


def bars(picture):
    """Height of each bar, left to right, pixels."""
    tall = (picture == histogram._BAR).all(axis=-1).sum(axis=0)
    inside = np.flatnonzero(tall)
    starts = np.flatnonzero(np.diff(inside, prepend=-9) > 1)
    return [int(tall[inside[start]]) for start in starts], [int(inside[start]) for start in starts]


def test_bars_are_as_high_as_their_counts():
    heights, _ = bars(drawn([3] * 20 + [4] * 10 + [7] * 5))
    assert len(heights) == 3
    assert heights[0] == pytest.approx(2 * heights[1], abs=2)
    assert heights[1] == pytest.approx(2 * heights[2], abs=2)


def test_a_logarithmic_axis_puts_equal_ratios_equally_far():
    _, places = bars(drawn([0.01, 0.1, 1.0], scale=Scale.LOG))
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=16)  # a bin
    _, places = bars(drawn([1.0, 10.0, 100.0]))
    assert places[2] - places[1] > 5 * (places[1] - places[0])


def test_bins_of_whole_numbers_hold_equally_many():
    """Else counts 1 to 100, one of each, would come out as a comb."""
    heights, _ = bars(drawn(np.arange(1, 109)))
    assert len(heights) == 36
    assert max(heights) - min(heights) <= 1


@pytest.mark.parametrize("scale", list(Scale))
@pytest.mark.parametrize("values", [[], [5], [0.3], [0.0, 0.0], [0.0, 0.5], [float("nan"), 0.5]])
def test_any_values_can_be_drawn(values, scale):
    picture = drawn(np.array(values), scale=scale, median="median" if values else "")
    heights, _ = bars(picture)
    assert bool(heights) == bool(values)


def test_panels_stand_side_by_side_each_with_its_median():
    one = Histogram(
        title="t", axis="a", counted="c", values=np.arange(9), median="median 4", ticks=(Tick(value=2.0, label="two"),)
    )
    picture = draw_histograms([one, one, one])
    height, width = histogram.PANEL
    assert picture.shape == (height, 3 * width, 3)
    np.testing.assert_array_equal(picture[:, :width], picture[:, width : 2 * width])
    line = (picture[:, :width] == histogram._MEDIAN).all(axis=-1).sum(axis=0)
    middle = (histogram._LEFT + width - histogram._RIGHT) / 2
    assert int(line.argmax()) == pytest.approx(middle, abs=2)
