"""What masks come to: the table, a line of CSV per photo, a plot and sheets of photos."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samjax.core.files import write_whole
from samjax.eval.cases import write_sheets
from samjax.eval.protocols.masks.protocol import PhotoMasks
from samjax.eval.results import Results, Row, as_text
from samjax.pictures.plots import plot_bars
from samjax.scores.average_precision import MOST_OF_COCO, ResultPart, average_precision
from samjax.scores.single_iou import MaskScore
from samjax.scores.truth import Truth

ALL = "all masks"
BEST = f"best {MOST_OF_COCO} per photo, as COCO"


def mask_results(
    truth: Truth,
    photos: Sequence[PhotoMasks],
    *,
    source: str,
    settings: Mapping[str, Any],
    left_out: Mapping[str, int],
    notes: Sequence[str],
) -> Results:
    """Return AP, and precision, recall and F1 at an IoU of 0.5, all in percent, whatever an object's category.

    COCO's rules count the best 100 masks of a photo; the second row counts all of them. Precision, recall and F1 are of
    all masks, whatever their scores, and of all objects together.

    Args:
      truth: class-agnostic, of these photos.
      source: where the masks are.
    """
    results = [mask.result(one.photo.id) for one in photos for mask in one.masks]
    most = max([MOST_OF_COCO, *(len(one.masks) for one in photos)])
    objects = sum(one.objects for one in photos)
    rows = []
    for name, limit in ((BEST, MOST_OF_COCO), (ALL, most)):
        metrics = average_precision(truth, results, of=ResultPart.MASKS, most=limit)
        if name == ALL:
            metrics |= _at_50(photos, objects=objects)
        percent = {metric: None if value is None else 100 * value for metric, value in metrics.items()}
        if name == ALL:
            percent["masks per photo"] = float(np.mean([len(one.masks) for one in photos]))
        rows.append(Row(name=name, metrics=percent, photos=len(photos), masks=objects, left_out=left_out))
        left_out = {}
    return Results(protocol="masks", checkpoint=source, settings=settings, rows=rows, notes=notes)


def _at_50(photos: Sequence[PhotoMasks], *, objects: int) -> dict[str, float | None]:
    if not objects:
        return {"precision@50": None, "recall@50": None, "F1@50": None}
    scores = [np.array([mask.score for mask in one.masks]) for one in photos]
    score = MaskScore.of([one.verdicts for one in photos], scores, objects=objects)
    return {"precision@50": score.precision, "recall@50": score.recall, "F1@50": score.f1}


def write_report(photos: Sequence[PhotoMasks], folder: Path, results: Results) -> None:
    """Write `photos.csv`, `ap.png`, and `worst.png` and `median.png` by the mean IoU of the best masks."""
    text = io.StringIO()
    names = list(photos[0].figures())
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["photo", *names])
    for one in photos:
        figures = one.figures()
        table.writerow([one.photo.name, *("" if figures[name] is None else _digits(figures[name]) for name in names)])
    write_whole(folder / "photos.csv", text.getvalue())
    bars = {
        row.name: {name: value for name, value in row.metrics.items() if name != "masks per photo"}
        for row in results.rows
    }
    plot_bars(folder / "ap.png", bars, title=results.protocol, unit="percent", written=as_text)
    write_sheets(folder, [one.case for one in photos if one.case is not None])


def _digits(value: float | int) -> str:
    return str(value) if isinstance(value, int) else f"{value:.4f}"
