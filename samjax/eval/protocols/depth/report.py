"""What scored depth comes to: the table, a line of CSV per photo, and sheets of photos."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from samjax.core.files import write_png, write_whole
from samjax.data.records.depths import inverse_depths
from samjax.eval.cases import worst_and_median
from samjax.eval.protocols.depth.protocol import DepthScoring, ScoredPhoto, read_depth
from samjax.eval.results import Results, Row
from samjax.pictures.canvas import Cell, Grid
from samjax.pictures.depth_picture import bounds_of, paint_depth
from samjax.predict.semantic.depth_predictor import DepthPredictor
from samjax.scores.depth_errors import mean_errors

_ON_A_SHEET = 6
_SIDE = 320
NAMES = {
    "abs_rel": "AbsRel",
    "rmse": "RMSE",
    "log10": "log10",
    "delta1": "delta1",
    "delta2": "delta2",
    "delta3": "delta3",
}
"""The columns, by the field of `DepthErrors`."""


def depth_results(name: str, scored: Sequence[ScoredPhoto], *, checkpoint: str, settings: Mapping[str, Any]) -> Results:
    """Return the means over the photos of a split called `name`, each of which counts alike; RMSE is in metres."""
    known = [one.errors for one in scored if one.errors is not None]
    means: dict[str, float | None] = dict.fromkeys(NAMES.values())
    if known:
        means = {NAMES[field]: value for field, value in asdict(mean_errors(known)).items()}
    unscored = len(scored) - len(known)
    left_out = {"photos without a pixel that is scored": unscored} if unscored else {}
    row = Row(name=f"all of {name}", metrics=means, photos=len(known), left_out=left_out)
    return Results(protocol="depth", checkpoint=checkpoint, settings=settings, rows=[row])


def write_report(folder: Path, predictor: DepthPredictor, scoring: DepthScoring, scored: Sequence[ScoredPhoto]) -> None:
    """Write photos.csv, worst.png and median.png, by AbsRel, into the folder."""
    write_whole(folder / "photos.csv", _csv(scored))
    by_error = [(-one.errors.abs_rel, one.photo.image_id, one) for one in scored if one.errors is not None]
    ranked = [one for *_, one in sorted(by_error, key=lambda case: case[:2])]
    for name, part in worst_and_median(ranked, count=_ON_A_SHEET)._asdict().items():
        if part:
            write_png(folder / f"{name}.png", _sheet(predictor, scoring, part))


def _csv(scored: Sequence[ScoredPhoto]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["image_id", "photo", *NAMES.values()])
    for one in scored:
        errors = None if one.errors is None else asdict(one.errors)
        values = ["" if errors is None else f"{errors[field]:.6g}" for field in NAMES]
        writer.writerow([one.photo.image_id, one.photo.name, *values])
    return text.getvalue()


def _sheet(predictor: DepthPredictor, scoring: DepthScoring, scored: Sequence[ScoredPhoto]) -> np.ndarray:
    """Draw photos, their true inverse depth, grey where it is unknown, and the predicted one in the same colours."""
    rows = []
    for one in scored:
        pixels, truth = read_depth(one.photo)
        depth, known, inverse = scoring.metres(predictor.predict(pixels), truth), truth > 0, inverse_depths(truth)
        caption = "" if one.errors is None else f"AbsRel {one.errors.abs_rel:.3f}, delta1 {one.errors.delta1:.3f}"
        rows.append(
            [
                Cell(picture=pixels, caption=one.photo.name),
                Cell(picture=paint_depth(inverse, known=known)),
                Cell(picture=paint_depth(1 / depth, bounds=bounds_of(inverse, known)), caption=caption),
            ]
        )
    return Grid(rows=rows, side=_SIDE, headings=("photo", "truth", "prediction")).draw()
