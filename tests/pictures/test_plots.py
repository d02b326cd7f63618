import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from samjax.core.errors import UserError
from samjax.pictures.colours import SERIES
from samjax.pictures.plots import Curve, plot_bars, plot_curves
from samjax.pictures.precision_recall import DetectorCurve, plot_precision_recall

AXES = ("clicks", "IoU")


def curve(*y: float, name: str = "a") -> Curve:
    return Curve(name=name, x=[float(x) for x in range(len(y))], y=list(y))


def count(path, colour) -> int:
    """Pixels of exactly this colour."""
    with Image.open(path) as picture:
        return int((np.asarray(picture.convert("RGB")) == np.array(colour)).all(axis=-1).sum())


def test_matplotlib_is_imported_where_a_plot_is_drawn():
    """It takes half a second, which `samjax predict` need not wait for."""
    code = """
import sys
from samjax.cli import main
from samjax.pictures import batch_sheet, histograms, plots, precision_recall
from samjax.eval import comparison, results, source_report
assert "matplotlib" not in sys.modules
plots.figure("a")
assert "matplotlib.figure" in sys.modules
assert "matplotlib.pyplot" not in sys.modules, "would look for a window system"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_plot_is_the_same_bytes_each_time(tmp_path):
    for name in ("a.png", "b.png"):
        plot_curves(tmp_path / name, [curve(0.1, 0.5)], title="t", axes=AXES)
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert not re.search(rb"tIME|tEXt|Software|20\d\d-", content)


def test_dashed_curves_have_the_colours_of_the_others(tmp_path):
    first, second = curve(0.0, 1.0), curve(1.0, 0.0, name="b")
    plot_curves(tmp_path / "a.png", [first, second], title="", axes=AXES)
    plot_curves(tmp_path / "b.png", [first, second], dashed=[first, second], title="", axes=AXES)
    for place, colour in enumerate(SERIES[:4]):
        assert (count(tmp_path / "a.png", colour) > 100) == (place < 2)
        assert (count(tmp_path / "b.png", colour) > 100) == (place < 2)


def test_a_bar_is_as_long_as_its_value(tmp_path):
    rows = {"x": {"ap": 10.0, "n": 30}, "y": {"ap": 20.0, "n": None}}
    plot_bars(tmp_path / "a.png", rows, title="t", unit="percent")
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))[: -picture.height // 5]  # without the legend

    def longest(colour) -> list[int]:
        lengths = (pixels == np.array(colour)).all(axis=-1).sum(axis=1)
        return sorted(set(lengths[lengths > 20].tolist()))

    (x_short, x_long), (y_only,) = longest(SERIES[0])[:: len(longest(SERIES[0])) - 1 or 1], longest(SERIES[1])[-1:]
    assert x_long == pytest.approx(3 * x_short, abs=6)
    assert y_only == pytest.approx(2 * x_short, abs=6)


@pytest.mark.parametrize("rows", [{"x": {}}, {"x": {"ap": None}, "y": {}}])
def test_bars_of_nothing_can_be_drawn(tmp_path, rows):
    plot_bars(tmp_path / "a.png", rows, title="t")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_precision_by_recall_shows_each_detector(tmp_path):
    recall = np.linspace(0, 1, 50)
    curves = [
        DetectorCurve(name=str(k), recall=recall, precision=0.9 - k * recall / 3, best_recall=0.5, best_precision=0.5)
        for k in range(3)
    ]
    plot_precision_recall(tmp_path / "a.png", curves[:2], title="edges")
    assert [count(tmp_path / "a.png", colour) > 100 for colour in SERIES[:3]] == [True, True, False]


def test_a_plot_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        plot_curves(tmp_path / "file" / "a.png", [curve(0.1)], title="t", axes=AXES)
