"""Two evaluations of one protocol, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samjax.core.errors import UserError
from samjax.eval.plots import COLOURS, figure, plot_lines, save
from samjax.eval.results import Results, Row, align_columns, as_text

_MOST_BARS = 40


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Rows and metrics that both have, in the order of the first, and how the two were made differently."""

    first: Results
    second: Results
    rows: Sequence[tuple[Row, Row]]
    differences: Sequence[str]
    """Sentences: settings, and rows that only one has."""

    @classmethod
    def of(cls, first: Results, second: Results) -> "Comparison":
        """Return the comparison of A with B.

        Raises:
          UserError: they are of two protocols, or have no row in common.
        """
        if first.protocol != second.protocol:
            raise UserError(
                f"A is of {first.protocol}, B of {second.protocol}: give two evaluations of the same protocol"
            )
        others = {row.name: row for row in second.rows}
        rows = [(row, others[row.name]) for row in first.rows if row.name in others]
        if not rows:
            raise UserError(f"A has {_names(first)}, B has {_names(second)}: there is nothing in common to compare")
        told = [
            f"{name}: A {first.settings.get(name)}, B {second.settings.get(name)}"
            for name in sorted({*first.settings, *second.settings})
            if first.settings.get(name) != second.settings.get(name)
        ]
        told += [f"only in A: {row.name}" for row in first.rows if row.name not in others]
        told += [f"only in B: {name}" for name in others if name not in {row.name for row in first.rows}]
        told += [
            f"{a.name}: A is of {a.photos:,} photos and {a.masks} masks, B of {b.photos:,} and {b.masks}"
            for a, b in rows
            if (a.photos, a.masks) != (b.photos, b.masks)
        ]
        return cls(first=first, second=second, rows=rows, differences=told)

    def table(self) -> str:
        """Return a line for every metric of every row: A, B and B less A."""
        lines = [["", "A", "B", "B - A"]]
        for a, b in self.rows:
            for name in a.metrics:
                if name in b.metrics:
                    one, other = a.metrics[name], b.metrics[name]
                    change = "-" if one is None or other is None else f"{other - one:+.3f}"
                    lines.append([f"{a.name} {name}", as_text(one), as_text(other), change])
        about = [f"{self.first.protocol}", f"A: {self.first.checkpoint}", f"B: {self.second.checkpoint}"]
        return "\n".join([*about, "", *align_columns(lines), "", *self.differences]).rstrip()

    def plot(self, path: Path) -> None:
        """Draw the curves of both, or where there are none their metrics as bars."""
        if self.first.curves and self.second.curves:
            drawn, axes = figure(f"{self.first.protocol}: A solid, B dashed")
            plot_lines(axes, self.first.curves, suffix=", A")
            axes.set_prop_cycle(color=COLOURS)
            plot_lines(axes, self.second.curves, suffix=", B", style="--")
            axes.set_xlabel(self.first.axes[0])
            axes.set_ylabel(self.first.axes[1])
        else:
            bars = [
                (f"{a.name} {name}", a.metrics[name], b.metrics[name])
                for a, b in self.rows
                for name in a.metrics
                if a.metrics[name] is not None and b.metrics.get(name) is not None
            ][:_MOST_BARS]
            drawn, axes = figure(f"{self.first.protocol}", height=1.2 + 0.34 * max(3, len(bars)))
            places = np.arange(len(bars))
            axes.barh(places - 0.2, [bar[1] for bar in bars], height=0.38, label="A")
            axes.barh(places + 0.2, [bar[2] for bar in bars], height=0.38, label="B")
            axes.set_yticks(places, [bar[0] for bar in bars])
            axes.invert_yaxis()
        axes.legend(frameon=False, fontsize=8)
        save(drawn, path)


def _names(results: Results) -> str:
    return ", ".join(row.name for row in results.rows[:5])
