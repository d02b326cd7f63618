"""The figures of people's work as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samjax.annotate.work_figures import MaskGroup, WorkBin, WorkFigures
from samjax.pictures.plots import COLOURS, figure, save

_MOST_BARS = 8
_LONGEST = 24
"""Characters of a name beside its bar."""


def draw_work(path: Path, figures: WorkFigures) -> None:
    """Write a picture: seconds a mask and masks a photo over time, and how many masks by source and by person.

    Raises:
      UserError: it cannot be written.
    """
    titles = ("Seconds per mask", "Masks per photo", "Masks by source", "Masks by person, median seconds")
    drawn, (seconds, masks, sources, people) = figure(*titles, width=11.0, height=7.0, columns=2)
    _curves(seconds, figures.seconds_over_time, unit="masks that people made, in order")
    _curves(masks, figures.masks_over_time, unit="photos, in order of their last mask")
    _bars(sources, figures.by_source, times=False)
    _bars(people, figures.by_annotator, times=True)
    save(drawn, path)


def _curves(panel: Any, bins: Sequence[WorkBin], *, unit: str) -> None:
    counts = [one.count for one in bins]
    for name, values in (
        ("median", [one.value.median for one in bins]),
        ("mean", [one.value.mean for one in bins]),
    ):
        panel.plot(counts, values, label=name, linewidth=1.8, marker="o", markersize=4)
    panel.set_xlabel(unit)
    panel.set_xlim(left=0)
    panel.set_ylim(bottom=0)
    if bins:
        panel.legend(frameon=False, fontsize=8)


def _bars(panel: Any, groups: Mapping[str, MaskGroup], *, times: bool) -> None:
    """Draw a bar for each of the largest groups, with its share of all masks, or with its median seconds."""
    shown = list(groups.items())[:_MOST_BARS]
    bars = panel.barh(range(len(shown)), [group.masks for _, group in shown], height=0.7, color=COLOURS[0])
    labels = [_time(group) if times else f"{group.masks:,} ({group.share:.0%})" for _, group in shown]
    panel.bar_label(bars, labels, padding=3, fontsize=8)
    panel.set_yticks(
        range(len(shown)), [name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..." for name, _ in shown]
    )
    panel.invert_yaxis()
    panel.margins(x=0.2)
    panel.set_xlabel("masks")


def _time(group: MaskGroup) -> str:
    return f"{group.masks:,}" if group.seconds is None else f"{group.masks:,}, {group.seconds.median:.1f} s"


def _short(name: str) -> str:
    short = name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."
    return short.replace("$", r"\$")  # else matplotlib reads a formula
