"""Plots in one style. matplotlib is imported only when a plot is drawn, since that takes a while."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samjax.core.files import write_whole
from samjax.pictures.colours import GRID, INK, SERIES, as_hex

COLOURS = tuple(as_hex(colour) for colour in SERIES)
_INK, _GRID = as_hex(INK), as_hex(GRID)
_AIR = 0.08
"""Inches around each panel."""
_MARKED = 20
"""Points that a curve may have to be drawn with a dot each."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line of a plot, x ascending."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def figure(*titles: str, width: float = 7.0, height: float = 4.6, columns: int | None = None) -> tuple[Any, list[Any]]:
    """Return a matplotlib figure and its axes, a panel for each title from left to right.

    Draw on the axes, then `save` the figure. No window system is needed.

    Args:
      width: of the figure, in inches of 130 pixels; so is `height`.
      columns: panels side by side, further ones below; all of them if not given.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    drawn = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=_AIR, h_pad=_AIR))
    columns = columns or len(titles)
    places = drawn.subplots(-(-len(titles) // columns), columns, squeeze=False).ravel()
    panels = list(places[: len(titles)])
    for empty in places[len(titles) :]:
        empty.set_visible(False)
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, loc="left", color=_INK, fontsize=11)
        axes.grid(color=_GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_prop_cycle(color=COLOURS)
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_GRID)
        axes.tick_params(colors=_INK, labelsize=9)
        axes.xaxis.label.set_color(_INK)
        axes.yaxis.label.set_color(_INK)
    return drawn, panels


def save(drawn: Any, path: Path) -> None:
    """Write a figure as a PNG, see `write_whole`: the same figure as the same bytes.

    Raises:
      UserError: it cannot be written there.
    """
    encoded = io.BytesIO()
    drawn.savefig(encoded, dpi=130, facecolor="white", format="png", metadata={"Software": None})
    write_whole(path, encoded.getvalue())


def plot_curves(
    path: Path, curves: Sequence[Curve], *, dashed: Sequence[Curve] = (), title: str, axes: tuple[str, str]
) -> None:
    """Write curves as one plot: each with the next colour and its name.

    Args:
      dashed: other curves, to compare: the first has the colour of the first of `curves`.
      axes: what x and y are.
    """
    drawn, (panel,) = figure(title)
    for style, group in (("-", curves), ("--", dashed)):
        panel.set_prop_cycle(color=COLOURS)
        for curve in group:
            marker = "o" if len(curve.x) <= _MARKED else None
            panel.plot(curve.x, curve.y, style, label=curve.name, linewidth=1.8, marker=marker, markersize=4)
    panel.set_xlabel(axes[0])
    panel.set_ylabel(axes[1])
    panel.legend(frameon=False, fontsize=8)
    save(drawn, path)


def plot_bars(
    path: Path,
    rows: Mapping[str, Mapping[str, float | int | None]],
    *,
    title: str,
    unit: str = "",
    written: Callable[[float | int], str] = "{:.3f}".format,
) -> None:
    """Write metrics as bars: a group for each metric, a colour for each row that has it.

    Args:
      rows: metrics by name, for each row by name. None draws nothing.
      unit: what the bars' axis counts.
      written: how a value is written beside its bar.
    """
    names = list(dict.fromkeys(name for metrics in rows.values() for name in metrics))
    drawn, (panel,) = figure(title, height=1.4 + 0.22 * max(4, len(names) * (len(rows) + 1)))
    thick = 0.8 / len(rows)
    for place, (row, metrics) in enumerate(rows.items()):
        present = [(n, value) for n, name in enumerate(names) if (value := metrics.get(name)) is not None]
        centres = [n + thick * (place + 0.5) - 0.4 for n, _ in present]
        bars = panel.barh(centres, [value for _, value in present], height=0.9 * thick, label=row)
        panel.bar_label(bars, [written(value) for _, value in present], padding=3, fontsize=8, color=_INK)
    panel.set_yticks(range(len(names)), names)
    panel.invert_yaxis()
    panel.set_xlabel(unit)
    panel.margins(x=0.12)
    if len(rows) > 1:
        drawn.legend(loc="outside lower center", ncols=len(rows), frameon=False, fontsize=8)
    save(drawn, path)
