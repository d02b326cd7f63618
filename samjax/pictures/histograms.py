"""Histograms side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from samjax.pictures.colours import FAINT, as_hex
from samjax.pictures.plots import COLOURS, figure, save

_BINS = 36
_FAINT, _BAR, _MEDIAN = as_hex(FAINT), COLOURS[0], COLOURS[1]
_STEPS = (1, 2, 5, 10)
"""Ticks are multiples of one of these times a power of ten."""
_APART = 0.08
"""Of the axis between named ticks, at least: others would run into each other."""
_HEADROOM = 1.14
"""Of the highest bar: the median is named above it."""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A value named on an axis."""

    value: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """What is counted, and how its axis runs."""

    title: str
    axis: str
    """What the values are."""
    unit: str
    """What one value stands for, in the plural: photos, masks."""
    values: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]
    """Those that are not finite are not counted."""
    median: str
    """The median in words; empty draws none."""
    logarithmic: bool = False
    """On a logarithmic axis values of 0 and below are counted with the smallest."""
    ticks: tuple[Tick, ...] = ()
    """Of the values' axis, ascending, those of them that lie on it; without any, round numbers."""


def plot_histograms(path: Path, histograms: Sequence[Histogram]) -> None:
    """Write the histograms in a row as a PNG.

    Raises:
      UserError: it cannot be written.
    """
    drawn, panels = figure(*(histogram.title for histogram in histograms), width=4.3 * len(histograms), height=3.0)
    for axes, histogram in zip(panels, histograms, strict=True):
        draw_histogram(axes, histogram)
    save(drawn, path)


def draw_histogram(axes: Any, histogram: Histogram) -> None:
    """Draw a histogram on matplotlib's axes."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(histogram.axis)
    axes.set_ylabel(histogram.unit)
    axes.grid(visible=False, axis="x")
    values = histogram.values[np.isfinite(histogram.values)].astype(float)
    if not len(values):
        axes.text(0.5, 0.5, "nothing to count", color=_FAINT, ha="center", transform=axes.transAxes)
        axes.set_xticks([])
        axes.set_yticks([])
        return
    whole = np.issubdtype(histogram.values.dtype, np.integer) and not histogram.logarithmic
    if histogram.logarithmic:
        positive = values[values > 0]
        values = np.maximum(values, positive.min() if len(positive) else 1.0)
        edges = 10 ** _edges(np.log10(values), whole=False)
        axes.set_xscale("log")
    else:
        edges = _edges(values, whole=whole)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=_STEPS, integer=whole))
        axes.xaxis.set_major_formatter("{x:,.6g}")
    counts, *_ = axes.hist(values, bins=edges, color=_BAR, edgecolor="white", linewidth=0.6)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, _HEADROOM * counts.max())
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=_STEPS, integer=True))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    if histogram.ticks:
        ticks = _named(axes, histogram.ticks)
        axes.set_xticks([tick.value for tick in ticks], [tick.label for tick in ticks])
        axes.minorticks_off()
    if histogram.median:
        median = float(np.median(values))
        left = _place(axes, median) < 0.7
        axes.axvline(median, color=_MEDIAN, linewidth=1.5)
        axes.annotate(
            histogram.median,
            (median, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(5 if left else -5, -1),
            textcoords="offset points",
            color=_MEDIAN,
            fontsize=8,
            ha="left" if left else "right",
            va="top",
        )


def _edges(values: Float[np.ndarray, "n"], *, whole: bool) -> Float[np.ndarray, "edges"]:
    """Return the borders of the bins; of whole numbers each bin holds as many as any other."""
    low, high = float(values.min()), float(values.max())
    if whole:
        step = max(1, int(np.ceil((high - low + 1) / _BINS)))
        bins = max(3, int(np.ceil((high - low + 1) / step)))
        return low - 0.5 + step * np.arange(bins + 1)
    margin = 0.02 * (high - low) or 0.1
    return np.linspace(low - margin, high + margin, _BINS + 1)


def _named(axes: Any, ticks: Sequence[Tick]) -> list[Tick]:
    """Return those ticks that lie on the axis and apart from each other."""
    named: list[Tick] = []
    for tick in ticks:
        place = _place(axes, tick.value)
        if 0 <= place <= 1 and (not named or place - _place(axes, named[-1].value) >= _APART):
            named.append(tick)
    return named


def _place(axes: Any, value: float) -> float:
    """Return where a value lies on the axis of values, from 0, its left end, to 1."""
    low, high, at = axes.xaxis.get_transform().transform(np.array([*axes.get_xlim(), value]))
    return float((at - low) / (high - low))
