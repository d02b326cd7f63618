"""Plots of results, all in one manner."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.core.optional import optional
from samjax.eval.results import Curve, Results, as_text

COLOURS = ("#1f6feb", "#d1572a", "#2da44e", "#8250df", "#bf8700", "#0f7b8a", "#cf222e", "#57606a")
_INK, _GRID = "#24292f", "#d8dee4"
_MARKED = 20
"""Points that a curve may have to be drawn with a dot each."""


def figure(title: str, *, width: float = 7.0, height: float = 4.6) -> tuple[Any, Any]:
    """Return a matplotlib figure and its axes; draw on the axes, then `save` the figure.

    Raises:
      UserError: matplotlib is not installed.
    """
    drawn = optional("matplotlib.figure", extra="eval").Figure(figsize=(width, height), layout="constrained")
    axes = drawn.add_subplot()
    axes.set_title(title, loc="left", color=_INK, fontsize=11)
    axes.grid(color=_GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_prop_cycle(color=COLOURS)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(_GRID)
    axes.tick_params(colors=_INK, labelsize=9)
    return drawn, axes


def save(drawn: Any, path: Path) -> None:
    """Write a figure as a PNG.

    Raises:
      UserError: it cannot be written there.
    """
    try:
        drawn.savefig(path, dpi=130, facecolor="white", format="png")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror or error}): give another place") from error


def plot_lines(axes: Any, curves: Sequence[Curve], *, suffix: str = "", style: str = "-") -> None:
    """Draw the curves, each with the next colour and its name."""
    for curve in curves:
        marker = "o" if len(curve.x) <= _MARKED else None
        axes.plot(curve.x, curve.y, style, label=curve.name + suffix, linewidth=1.8, marker=marker, markersize=4)


def plot_bars(path: Path, results: Results, *, unit: str) -> None:
    """Write the metrics of `results` as bars, a group for each metric and a colour for each row."""
    names = list(dict.fromkeys(name for row in results.rows for name in row.metrics))
    rows = results.rows
    drawn, axes = figure(results.protocol, height=1.4 + 0.22 * len(names) * (len(rows) + 1))
    thick = 0.8 / len(rows)
    for place, row in enumerate(rows):
        there = [(n, row.metrics[name]) for n, name in enumerate(names) if row.metrics.get(name) is not None]
        heights = [n + thick * (place + 0.5) - 0.4 for n, _ in there]
        bars = axes.barh(heights, [value for _, value in there], height=0.9 * thick, label=row.name)
        axes.bar_label(bars, [as_text(value) for _, value in there], padding=3, fontsize=8, color=_INK)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.margins(x=0.12)
    if len(rows) > 1:
        drawn.legend(loc="outside lower center", ncols=len(rows), frameon=False, fontsize=8)
    save(drawn, path)


def plot_curves(path: Path, results: Results) -> None:
    """Write the curves of `results` as one plot."""
    drawn, axes = figure(f"{results.protocol}: {results.axes[1]} against {results.axes[0]}")
    plot_lines(axes, results.curves)
    axes.set_xlabel(results.axes[0])
    axes.set_ylabel(results.axes[1])
    axes.legend(frameon=False, fontsize=8)
    save(drawn, path)
