"""The plot of a boundary benchmark: precision by recall, over lines of equal F."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from samjax.eval.plots import COLOURS, figure, save
from samjax.eval.protocols.edges.edge_scores import EdgeScores

_LINE = "#b7c0ca"


def draw_precision_recall(path: Path, methods: Mapping[str, EdgeScores]) -> None:
    """Write the curves of `methods`, each with its best F marked, as a PNG."""
    drawn, axes = figure("edges: precision by recall, F grey", width=5.6, height=5.2)
    for f in np.arange(1, 10) / 10:
        recall = np.linspace(f / (2 - f), 1, 200)
        axes.plot(recall, f * recall / (2 * recall - f), color=_LINE, linewidth=0.7)
        axes.annotate(f"{f:.1f}", (1.005, f / (2 - f)), color=_LINE, fontsize=7, va="center", annotation_clip=False)
    for colour, (name, scores) in zip(COLOURS, methods.items(), strict=False):
        there = scores.recall > 0
        label = f"{name}, ODS {scores.ods.f:.3f}"
        axes.plot(scores.recall[there], scores.precision[there], color=colour, linewidth=1.8, label=label)
        axes.plot([scores.ods.recall], [scores.ods.precision], "o", color=colour, markersize=6)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    save(drawn, path)
