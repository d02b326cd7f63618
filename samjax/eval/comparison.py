"""Two evaluations of one protocol, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from samjax.core.errors import UserError
from samjax.eval.results import Results, Row, align_columns, as_text
from samjax.pictures.plots import plot_bars, plot_curves

_MOST_BARS = 40


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Rows and metrics that both have, in the order of the first, and how the two evaluations differ."""

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
            raise UserError(f"A is a {first.protocol} evaluation, B {second.protocol}: give two of the same protocol")
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
        """Draw the curves of both; without curves, their metrics as bars."""
        protocol = self.first.protocol
        if self.first.curves and self.second.curves:
            a, b = (
                [replace(curve, name=f"{curve.name}, {side}") for curve in results.curves]
                for side, results in (("A", self.first), ("B", self.second))
            )
            plot_curves(path, a, dashed=b, title=f"{protocol}: A solid, B dashed", axes=self.first.axes)
            return
        bars = [
            (f"{a.name} {name}", a.metrics[name], b.metrics[name])
            for a, b in self.rows
            for name in a.metrics
            if a.metrics[name] is not None and b.metrics.get(name) is not None
        ][:_MOST_BARS]
        sides = {"A": {name: a for name, a, _ in bars}, "B": {name: b for name, _, b in bars}}
        plot_bars(path, sides, title=protocol, written=as_text)


def _names(results: Results) -> str:
    return ", ".join(row.name for row in results.rows[:5])
