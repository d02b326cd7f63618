"""Plots of results, all in one manner."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.core.optional import optional
from samjax.eval.results import Curve, Results

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


def plot_curves(path: Path, results: Results) -> None:
    """Write the curves of `results` as one plot."""
    drawn, axes = figure(f"{results.protocol}: {results.axes[1]} against {results.axes[0]}")
    plot_lines(axes, results.curves)
    axes.set_xlabel(results.axes[0])
    axes.set_ylabel(results.axes[1])
    axes.legend(frameon=False, fontsize=8)
    save(drawn, path)
