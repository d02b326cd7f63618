import numpy as np
import pytest
from PIL import Image

from samjax.pictures.histograms import Histogram, Tick, draw_histogram, plot_histograms
from samjax.pictures.plots import figure


def drawn(values, **settings):
    """Return the axes that a histogram of `values` is drawn on."""
    settings = {"title": "", "axis": "", "unit": "", "median": "", **settings}
    _, (axes,) = figure("")
    draw_histogram(axes, Histogram(values=np.asarray(values), **settings))
    return axes


def bars(axes):
    """Height of each bar in pixels, left to right, and where it begins."""
    boxes = [bar.get_window_extent() for bar in axes.patches if bar.get_height()]
    return [box.height for box in boxes], [box.x0 for box in boxes]


def test_bars_are_as_high_as_their_counts():
    heights, _ = bars(drawn([3] * 20 + [4] * 10 + [7] * 5))
    assert len(heights) == 3
    assert heights[0] == pytest.approx(2 * heights[1], abs=2)
    assert heights[1] == pytest.approx(2 * heights[2], abs=2)


def test_a_logarithmic_axis_puts_equal_ratios_equally_far():
    axes = drawn([0.01, 0.1, 1.0], logarithmic=True)
    bin_width = axes.patches[0].get_window_extent().width
    _, places = bars(axes)
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=1.01 * bin_width)
    _, places = bars(drawn([1.0, 10.0, 100.0]))
    assert places[2] - places[1] > 5 * (places[1] - places[0])


def test_bins_of_whole_numbers_hold_equally_many():
    """Else counts 1 to 100, one of each, would come out as a comb."""
    heights, _ = bars(drawn(np.arange(1, 109)))
    assert len(heights) == 36
    assert max(heights) - min(heights) <= 1


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("values", [[], [5], [0.3], [0.0, 0.0], [0.0, 0.5], [float("nan"), 0.5]])
def test_any_values_can_be_drawn(tmp_path, values, logarithmic):
    settings = {"logarithmic": logarithmic, "median": "median" if values else ""}
    heights, _ = bars(drawn(np.array(values), **settings))
    assert bool(heights) == bool(values)
    whole = Histogram(title="t", axis="a", unit="c", values=np.array(values), **settings)
    plot_histograms(tmp_path / "a.png", [whole])
    with Image.open(tmp_path / "a.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 3


def test_panels_stand_side_by_side_each_with_its_median(tmp_path):
    one = Histogram(
        title="t", axis="a", unit="c", values=np.arange(9), median="median 4", ticks=(Tick(value=2.0, label="two"),)
    )
    plot_histograms(tmp_path / "one.png", [one])
    plot_histograms(tmp_path / "three.png", [one] * 3)
    with Image.open(tmp_path / "one.png") as narrow, Image.open(tmp_path / "three.png") as wide:
        assert (wide.width, wide.height) == (3 * narrow.width, narrow.height)
        dark = (np.asarray(wide.convert("L")) < 200).reshape(wide.height, 3, narrow.width).sum(axis=(0, 2))
    np.testing.assert_allclose(dark, dark.mean(), rtol=0.1)
    axes = drawn(one.values, median=one.median, ticks=one.ticks)
    assert axes.lines[0].get_xdata() == [4, 4]
    assert [text.get_text() for text in axes.texts] == ["median 4"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["two"]


def test_ticks_lie_on_the_axis_and_apart():
    ticks = tuple(Tick(value=value, label=str(value)) for value in (0.001, 0.1, 0.101, 1.0, 10.0, 1000.0))
    axes = drawn([0.05, 20.0], logarithmic=True, ticks=ticks)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "1.0", "10.0"]
