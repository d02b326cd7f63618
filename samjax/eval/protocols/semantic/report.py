"""What classified pixels come to: the table, a line of CSV per photo, plots, and sheets of photos."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samjax.core.files import write_png, write_whole
from samjax.eval.cases import worst_and_median
from samjax.eval.protocols.semantic.classed_photos import ClassedPhotos, read_classes
from samjax.eval.protocols.semantic.protocol import CountedPhoto
from samjax.eval.results import Results, Row
from samjax.pictures.canvas import Cell, Grid
from samjax.pictures.class_map import overlay_classes
from samjax.pictures.plots import figure, plot_bars, save
from samjax.predict.semantic.semantic_predictor import SemanticPredictor
from samjax.scores.confusion import SemanticScores

_ON_A_SHEET = 6
_SIDE = 320
_MOST_BARS, _MOST_NUMBERS = 40, 20
"""Classes with a bar of their own, and with numbers in the picture of what is taken for what."""


def semantic_results(
    data: ClassedPhotos, counted: Sequence[CountedPhoto], *, checkpoint: str, settings: Mapping[str, Any]
) -> Results:
    """Return mIoU and accuracies of the whole data set, and each class's, all in percent."""
    scores = total_scores(counted)
    whole = {"mIoU": scores.miou, "accuracy": scores.mean_accuracy, "pixel accuracy": scores.pixel_accuracy}
    rows = [Row(name=f"all of {data.name}", metrics=_percent(whole), photos=len(counted))]
    for number, name in enumerate(data.classes):
        own = scores.of_class(number)
        photos = sum(bool(one.matrix[number].any()) for one in counted)
        rows.append(Row(name=name, metrics=_percent({"mIoU": own.iou, "accuracy": own.accuracy}), photos=photos))
    absent = int((~scores.present).sum())
    notes = [f"{absent:,} classes are neither in the data nor predicted, and count for nothing"] if absent else []
    return Results(protocol="semantic", checkpoint=checkpoint, settings=settings, rows=rows, notes=notes)


def total_scores(counted: Sequence[CountedPhoto]) -> SemanticScores:
    """Return the scores of all photos' pixels together."""
    return SemanticScores(matrix=np.sum([one.matrix for one in counted], axis=0))


def write_report(
    folder: Path, predictor: SemanticPredictor, data: ClassedPhotos, counted: Sequence[CountedPhoto], results: Results
) -> None:
    """Write photos.csv, classes.png, confusion.png, worst.png and median.png into the folder."""
    ordered = sorted(counted, key=lambda one: SemanticScores(matrix=one.matrix).pixel_accuracy)
    write_whole(folder / "photos.csv", _csv(counted))
    plot_bars(
        folder / "classes.png",
        {row.name: {"IoU": row.metrics["mIoU"]} for row in results.rows[1 : 1 + _MOST_BARS]},
        title=f"IoU of each class, {data.name}",
        unit="%",
        written="{:.1f}".format,
    )
    _plot_confusion(folder / "confusion.png", total_scores(counted), data.classes)
    for name, part in worst_and_median(ordered, count=_ON_A_SHEET)._asdict().items():
        if part:
            write_png(folder / f"{name}.png", _sheet(predictor, part))


def _percent(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else 100 * value for name, value in metrics.items()}


def _csv(counted: Sequence[CountedPhoto]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["image_id", "photo", "mean IoU", "pixel accuracy"])
    for one in counted:
        scores = SemanticScores(matrix=one.matrix)
        writer.writerow([one.photo.image_id, one.photo.name, f"{scores.miou:.4f}", f"{scores.pixel_accuracy:.4f}"])
    return text.getvalue()


def _sheet(predictor: SemanticPredictor, counted: Sequence[CountedPhoto]) -> np.ndarray:
    rows, colours = [], predictor.colours
    for one in counted:
        pixels, truth = read_classes(one.photo)
        rows.append(
            [
                Cell(picture=pixels, caption=one.photo.name),
                Cell(picture=overlay_classes(pixels, truth, colours)),
                Cell(
                    picture=overlay_classes(pixels, predictor.predict(pixels), colours),
                    caption=f"pixels right {SemanticScores(matrix=one.matrix).pixel_accuracy:.2f}",
                ),
            ]
        )
    return Grid(rows=rows, side=_SIDE, headings=("photo", "truth", "prediction")).draw()


def _plot_confusion(path: Path, scores: SemanticScores, classes: Sequence[str]) -> None:
    """Draw which share of each class's pixels is predicted as which."""
    with np.errstate(invalid="ignore"):
        shares = np.nan_to_num(scores.matrix / scores.matrix.sum(1, keepdims=True))
    side = min(14.0, 3.5 + 0.28 * len(classes))
    drawn, (panel,) = figure("Share of a class's pixels", width=side, height=side)
    panel.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    panel.grid(visible=False)
    if len(classes) <= _MOST_NUMBERS:
        for (row, column), share in np.ndenumerate(shares):
            panel.text(column, row, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.5 else "black")
    if len(classes) <= _MOST_BARS:
        panel.set_xticks(range(len(classes)), classes, rotation=90)
        panel.set_yticks(range(len(classes)), classes)
    panel.set_xlabel("predicted")
    panel.set_ylabel("truth")
    save(drawn, path)
