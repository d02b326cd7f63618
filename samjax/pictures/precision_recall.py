"""The plot of a detector: precision by recall, over lines of equal F."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from samjax.pictures.plots import COLOURS, figure, save

_LINE = "#b7c0ca"


@dataclass(frozen=True, kw_only=True)
class DetectorCurve:
    """Precision and recall at each threshold, and where F is greatest."""

    name: str
    recall: Float[np.ndarray, "t"]
    precision: Float[np.ndarray, "t"]
    best_recall: float
    best_precision: float


def plot_precision_recall(path: Path, curves: Sequence[DetectorCurve], *, title: str) -> None:
    """Write the curves as a PNG, each with its best place marked. Thresholds that detect nothing are not drawn."""
    drawn, (axes,) = figure(title, width=5.6, height=5.2)
    for f in np.arange(1, 10) / 10:
        recall = np.linspace(f / (2 - f), 1, 200)
        axes.plot(recall, f * recall / (2 * recall - f), color=_LINE, linewidth=0.7)
        axes.annotate(f"{f:.1f}", (1.005, f / (2 - f)), color=_LINE, fontsize=7, va="center", annotation_clip=False)
    for colour, curve in zip(COLOURS, curves, strict=False):
        detected = curve.recall > 0
        recall, precision = curve.recall[detected], curve.precision[detected]
        axes.plot(recall, precision, color=colour, linewidth=1.8, label=curve.name)
        axes.plot([curve.best_recall], [curve.best_precision], "o", color=colour, markersize=6)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    save(drawn, path)
