"""Runs beside a reference: where they part, what their configs differ in, their final figures, and a plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.pictures.plots import COLOURS, figure, save
from samjax.runs.parting import FEWEST, WINDOW, find_parting, noise_of, smooth
from samjax.runs.run_history import RunHistory, Series

_SPEED = ("images_per_s", "mfu", "goodput", "data_wait_s", "step_s", "save_s", "eval_s", "elapsed_s")
"""Figures of the machine, not of what is learnt: shown, and not searched for where runs part."""
_FIRST = ("loss", "grad_norm", "lr", "step_s")
_VALIDATION = 4
"""Validation figures to draw, at most."""
_COLUMNS = 3
_REFERENCE = "#5b6570"
_LONGEST = 60


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """One or more runs and the reference that they are compared with."""

    runs: Sequence[RunHistory]
    reference: RunHistory

    def __post_init__(self):
        for run in self.runs:
            if not set(run.series) & set(self.reference.series):
                raise UserError(
                    f"{run.name} and {self.reference.name} have no figure in common: the first has "
                    f"{', '.join(run.series)}, the other {', '.join(self.reference.series)}"
                )

    def text(self) -> str:
        """Return, for each run: where it parts from the reference, its config's differences, and final figures."""
        return "\n\n".join("\n".join(self._of_run(run)) for run in self.runs)

    def _of_run(self, run: RunHistory) -> list[str]:
        reference = self.reference
        lines = [f"{run.name}, {run.last_step:,} steps, beside {reference.name}, {reference.last_step:,} steps", ""]
        lines += ["config:", *(f"  {one}" for one in _config_differences(run, reference)), ""]
        names = [name for name in _ordered(run, reference) if name.split("/")[-1] not in _SPEED]
        partings = {name: find_parting(run.series[name], reference.series[name]) for name in names}
        width = max(map(len, partings), default=0)
        lines += ["figures:", *(f"  {name:{width}}  {one.words()}" for name, one in partings.items()), ""]
        steps = [one.first for one in partings.values() if one.first is not None]
        if steps:
            first = min(steps)
            those = ", ".join(name for name, one in partings.items() if one.first == first)
            lines += [f"they part at step {first:,}: {those}", ""]
        elif all(one.is_equal for one in partings.values()) and partings:
            lines += ["they are equal at every step that both logged", ""]
        elif any(one.noise is not None for one in partings.values()):
            lines += ["they do not part", ""]
        else:
            lines += [f"whether they part is not known: it takes {FEWEST} steps that both logged", ""]
        return [*lines, *_final_figures(run, reference)]

    def plot(self, path: Path) -> None:
        """Draw loss, validation, learning rate, gradient norm and seconds per step of all, the reference dashed.

        Where a run leaves the reference's noise a dotted line in its colour stands.
        """
        everything = list(dict.fromkeys(name for run in self.runs for name in _ordered(run, self.reference)))
        validation = [name for name in everything if "/" in name][:_VALIDATION]
        names = [name for name in _FIRST if name in everything] + validation or everything[:1]
        columns = min(_COLUMNS, len(names))
        rows = -(-len(names) // columns)
        drawn, panels = figure(*names, width=4.6 * columns, height=3.1 * rows + 0.4, columns=columns)
        for name, panel in zip(names, panels, strict=True):
            if name in self.reference.series:
                _draw(panel, self.reference.series[name], label=self.reference.name, colour=_REFERENCE, style="--")
            for run, colour in zip(self.runs, _colours(len(self.runs)), strict=True):
                if name not in run.series:
                    continue
                _draw(panel, run.series[name], label=run.name, colour=colour, style="-")
                if name not in _SPEED and name in self.reference.series:
                    first = find_parting(run.series[name], self.reference.series[name]).first
                    if first is not None:
                        panel.axvline(first, color=colour, linestyle=":", linewidth=1.2)
            panel.set_xlabel("step")
        handles = panels[0].get_legend_handles_labels()
        drawn.legend(*handles, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        save(drawn, path)


def _colours(count: int) -> list[str]:
    return [COLOURS[place % len(COLOURS)] for place in range(count)]


def _draw(panel: Any, series: Series, *, label: str, colour: str, style: str) -> None:
    """Draw a curve; one of many points with noise thin, with its mean over neighbours above it. Dashes lie on top."""
    above = 3 if style == "--" else 2
    if len(series.step) <= 3 * WINDOW:
        marker = "o" if style == "-" else "s"
        panel.plot(
            series.step, series.value, style, color=colour, label=label, marker=marker, markersize=3.5, zorder=above
        )
    elif noise_of(series.value) == 0:
        panel.plot(series.step, series.value, style, color=colour, linewidth=1.6, label=label, zorder=above)
    else:
        panel.plot(series.step, series.value, style, color=colour, linewidth=0.7, alpha=0.35)
        mean = smooth(series.value, WINDOW)
        panel.plot(series.step, mean, style, color=colour, linewidth=1.6, label=label, zorder=above)


def _ordered(run: RunHistory, reference: RunHistory) -> list[str]:
    """Return the figures that both have: the loss first, then others of training, then validation."""
    both = [name for name in run.series if name in reference.series]
    rank = {name: place for place, name in enumerate(_FIRST)}
    return sorted(both, key=lambda name: ("/" in name, rank.get(name, len(rank)), both.index(name)))


def _config_differences(run: RunHistory, reference: RunHistory) -> list[str]:
    """Return a line for each field that differs, or what keeps configs from being compared."""
    for one in (run, reference):
        if one.fields is None:
            return [f"{one.name} has no config.json: not compared"]
    own, other = run.fields or {}, reference.fields or {}
    names = [
        name for name in dict.fromkeys([*own, *other]) if (name in own) != (name in other) or own[name] != other[name]
    ]
    return [f"{name}: {_value(own, name)}, reference {_value(other, name)}" for name in names] or ["no difference"]


def _value(fields: Any, name: str) -> str:
    if name not in fields:
        return "(no such field)"
    text = str(fields[name])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _final_figures(run: RunHistory, reference: RunHistory) -> list[str]:
    """Return a table of the last figures; of training, the mean of the last `WINDOW` that were logged."""
    rows = [(f"at the end (training: mean of the last {WINDOW})", "run", "reference", "difference")]
    for name in _ordered(run, reference):
        own, other = (_last(one.series[name], name) for one in (run, reference))
        rows.append((f"  {name}", f"{own:.4g}", f"{other:.4g}", f"{own - other:+.3g}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _last(series: Series, name: str) -> float:
    return float(series.value[-1] if "/" in name or name == "lr" else series.value[-WINDOW:].mean())
