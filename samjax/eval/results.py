"""Results of an evaluation: one file that every protocol writes and `compare` reads, and its table."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.core.files import write_whole
from samjax.pictures.plots import Curve

FILE = "results.json"
_FORMAT = 1

Metrics = Mapping[str, float | int | None]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a data set, or a way of counting."""

    name: str
    metrics: Metrics
    """By column. None where there is nothing to average over; never a NaN."""
    photos: int
    masks: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    """How much of the data was not evaluated, by reason."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results of one protocol: `rows`, of which the last is their mean where there are several data sets."""

    protocol: str
    checkpoint: str
    settings: Mapping[str, Any]
    """Everything that the results depend on, except checkpoint and data."""
    rows: Sequence[Row]
    curves: Sequence[Curve] = ()
    axes: tuple[str, str] = ("", "")
    """Labels of the curves' x and y axes."""
    notes: Sequence[str] = ()
    """Notes that a reader of the results needs."""

    def write(self, folder: Path) -> None:
        """Write `results.json` and `table.txt`, for programs and people, into `folder`."""
        content = {"format": _FORMAT, **asdict(self)}
        for row in self.rows:
            wrong = [name for name, value in row.metrics.items() if value is not None and not math.isfinite(value)]
            assert not wrong, f"{row.name}: {wrong}"
        write_whole(folder / FILE, json.dumps(content, indent=1, allow_nan=False) + "\n")
        write_whole(folder / "table.txt", self.table() + "\n")

    @classmethod
    def read(cls, path: str | Path) -> "Results":
        """Return the results in a file, or in the folder that it was written to.

        Raises:
          UserError: there is no such file, or it is not one that `write` wrote.
        """
        file = Path(path).expanduser()
        file = file / FILE if file.is_dir() else file
        try:
            said = json.loads(file.read_text())
        except FileNotFoundError:
            raise UserError(f"{file}: no such file; give a results.json that samjax evaluate wrote") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{file} is not a results.json that samjax evaluate wrote: {error}") from None
        try:
            return cls._parsed(said)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            raise UserError(f"{file} is not a results.json that samjax evaluate wrote: {reason}") from None

    @classmethod
    def _parsed(cls, said: Any) -> "Results":
        if not isinstance(said, dict):
            raise ValueError("it is no JSON object")
        if said.pop("format") != _FORMAT:
            raise ValueError("it is of another version of samjax")
        for key in ("rows", "curves", "axes", "notes"):
            if not isinstance(said[key], list):
                raise ValueError(f"{key} is {said[key]!r}, but must be a list")
        for row in said["rows"]:
            for name, value in row["metrics"].items():
                if value is not None and type(value) not in (int, float):
                    raise ValueError(f"{name} of {row['name']} is {value!r}, but must be a number")
        rows = [Row(**row) for row in said.pop("rows")]
        curves = [Curve(**curve) for curve in said.pop("curves")]
        names = [row.name for row in rows]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two rows are called {twice[0]!r}")
        x, y = said.pop("axes")
        return cls(**said, rows=rows, curves=curves, axes=(x, y))

    def table(self) -> str:
        """Return the rows as an aligned table, with exclusions and notes below."""
        columns = list(dict.fromkeys(name for row in self.rows for name in row.metrics))
        lines = [["", "photos", "masks", *columns]]
        for row in self.rows:
            masks = "" if row.masks is None else f"{row.masks:,}"
            lines.append([row.name, f"{row.photos:,}", masks, *(as_text(row.metrics.get(name)) for name in columns)])
        left_out = [
            f"{row.name}: {count:,} {kind} left out" for row in self.rows for kind, count in row.left_out.items()
        ]
        return "\n".join([f"{self.protocol}, {self.checkpoint}", "", *align_columns(lines), "", *left_out, *self.notes])


def as_text(value: float | int | None) -> str:
    """Return a metric as tables show it."""
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def align_columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return the cells of each line in columns: the first from the left, the others from the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    sides = [str.ljust, *[str.rjust] * (len(widths) - 1)]
    return [
        "  ".join(side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)).rstrip()
        for line in lines
    ]
