"""Histograms as pictures, side by side, drawn with Pillow alone."""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image, ImageDraw

from samjax.predict.overlay import text_font

PANEL = (380, 560)
"""(height, width) of a histogram, in pixels."""

_BINS = 36
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 24, 66, 62  # of the axes in their panel
_INK, _FAINT, _GRID, _BAR, _MEDIAN = (36, 41, 47), (101, 109, 118), (226, 230, 235), (84, 138, 214), (207, 84, 36)


class Scale(enum.Enum):
    """How the axis of the values runs."""

    LINEAR = "linear"
    LOG = "log"


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
    counted: str
    """What one value stands for, in the plural: photos, masks."""
    values: Float[np.ndarray, "n"] | Int[np.ndarray, "n"]
    median: str
    """The median in words; empty draws none."""
    scale: Scale = Scale.LINEAR
    """On a logarithmic axis values of 0 and below are counted with the smallest."""
    ticks: tuple[Tick, ...] = ()
    """Of the values' axis, those of them that lie on it; without any, round whole numbers."""


def draw_histograms(histograms: Sequence[Histogram]) -> UInt8[np.ndarray, "h w 3"]:
    """Return the histograms in a row."""
    height, width = PANEL
    sheet = Image.new("RGB", (width * len(histograms), height), (255, 255, 255))
    for place, histogram in enumerate(histograms):
        sheet.paste(_draw(histogram), (place * width, 0))
    return np.asarray(sheet)


def _draw(histogram: Histogram) -> Image.Image:
    height, width = PANEL
    panel = Image.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(panel)
    right, floor = width - _RIGHT, height - _BOTTOM
    draw.text((_LEFT, 14), histogram.title, fill=_INK, font=text_font(19))
    draw.text(((_LEFT + right) / 2, height - 10), histogram.axis, fill=_FAINT, font=text_font(15), anchor="mb")
    values = histogram.values[np.isfinite(histogram.values)].astype(float)
    if not len(values):
        draw.text(
            ((_LEFT + right) / 2, (_TOP + floor) / 2), "nothing to count", fill=_FAINT, font=text_font(16), anchor="mm"
        )
        return panel
    if histogram.scale is Scale.LOG:
        positive = values[values > 0]
        values = np.log10(np.maximum(values, positive.min() if len(positive) else 1.0))
    whole = histogram.scale is Scale.LINEAR and np.issubdtype(histogram.values.dtype, np.integer)
    edges = _edges(values, whole=whole)
    counts = np.histogram(values, edges)[0].astype(float).tolist()
    heights = _round_ticks(0.0, max(counts), about=5)
    top = heights[-1]

    def across(value: float) -> float:
        return _LEFT + (value - edges[0]) / (edges[-1] - edges[0]) * (right - _LEFT)

    def up(count: float) -> float:
        return floor - count / top * (floor - _TOP)

    for count in heights:
        draw.line((_LEFT, up(count), right, up(count)), fill=_GRID if count else _FAINT)
        draw.text((_LEFT - 10, up(count)), f"{count:,.0f}", fill=_FAINT, font=text_font(14), anchor="rm")
    draw.text((_LEFT - 10, _TOP - 14), histogram.counted, fill=_FAINT, font=text_font(14), anchor="rb")
    for count, low, high in zip(counts, edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            draw.rectangle((across(low) + 0.5, min(up(count), floor - 2), across(high) - 1.5, floor - 1), fill=_BAR)
    end = -math.inf
    for tick in _ticks(histogram, low=float(edges[0]), high=float(edges[-1])):
        x = across(tick.value)
        half = draw.textlength(tick.label, font=text_font(14)) / 2
        draw.line((x, floor, x, floor + 5), fill=_FAINT)
        if x - half > end + 6:  # leave out labels that would run into each other
            draw.text((x, floor + 9), tick.label, fill=_FAINT, font=text_font(14), anchor="mt")
            end = x + half
    if histogram.median:
        x = across(float(np.median(values)))
        draw.line((x, _TOP - 6, x, floor - 1), fill=_MEDIAN, width=2)
        room = x + 8 + draw.textlength(histogram.median, font=text_font(14)) < right
        draw.text(
            (x + 8 if room else x - 8, _TOP - 8),
            histogram.median,
            fill=_MEDIAN,
            font=text_font(14),
            anchor="lm" if room else "rm",
        )
    return panel


def _edges(values: Float[np.ndarray, "n"], *, whole: bool) -> Float[np.ndarray, "edges"]:
    """Return the borders of the bins; of whole numbers each bin holds as many as any other."""
    low, high = float(values.min()), float(values.max())
    if whole:
        step = max(1, math.ceil((high - low + 1) / _BINS))
        bins = max(3, math.ceil((high - low + 1) / step))
        return low - 0.5 + step * np.arange(bins + 1)
    margin = 0.02 * (high - low) or 0.1
    return np.linspace(low - margin, high + margin, _BINS + 1)


def _ticks(histogram: Histogram, *, low: float, high: float) -> list[Tick]:
    """Return the ticks of the values' axis, where they lie on it: logarithms on a logarithmic one."""
    if not histogram.ticks:
        return [
            Tick(value=value, label=f"{value:,.0f}")
            for value in _round_ticks(low, high, about=6)
            if low <= value <= high
        ]
    placed = [
        Tick(value=math.log10(tick.value) if histogram.scale is Scale.LOG else tick.value, label=tick.label)
        for tick in histogram.ticks
    ]
    return [tick for tick in placed if low <= tick.value <= high]


def _round_ticks(low: float, high: float, *, about: int) -> list[float]:
    """Return whole multiples of 1, 2, 2.5 or 5 times a power of ten from below `low` to above `high`."""
    rough = max((high - low) / about, 1.0)
    power = 10.0 ** math.floor(math.log10(rough))
    steps = (power * factor for factor in (1, 2, 2.5, 5, 10))
    step = next(step for step in steps if step >= 0.999 * rough and step.is_integer())
    return [step * place for place in range(math.floor(low / step), math.ceil(high / step) + 1)]
