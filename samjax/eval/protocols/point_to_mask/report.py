"""What the clicks on all data sets come to: the table, a line of CSV a photo, a plot and a sheet of cases."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from samjax.core.files import write_png, write_whole
from samjax.data.annotations.dataset import Dataset, Photo
from samjax.eval.cases import Cases, worst_and_median
from samjax.eval.protocols.point_to_mask.clicking import ClickConfig, ClickOutcome, click_objects
from samjax.eval.results import Results, Row
from samjax.pictures.click_sheet import SheetRow, draw_sheet
from samjax.pictures.plots import Curve, plot_curves
from samjax.predict.promptable.predictor import Predictor

MEAN = "mean of data sets"

ClicksByPhoto = Mapping[str, Mapping[int, Sequence[ClickOutcome]]]
"""Objects by data set and photo."""


def click_results(
    datasets: Sequence[Dataset],
    found: ClicksByPhoto,
    *,
    config: ClickConfig,
    checkpoint: str,
    left_out: Mapping[str, Mapping[str, int]],
    notes: Sequence[str],
) -> Results:
    """Return mean IoU of each data set's objects and the mean over data sets (Segment Anything, section 7.1).

    Args:
      left_out: objects of each data set that cannot be clicked, by why, besides what its reader left out.
    """
    rows = []
    for dataset in datasets:
        objects = [one for of_photo in found[dataset.name].values() for one in of_photo]
        rows.append(
            Row(
                name=dataset.name,
                metrics=_metrics(objects, config),
                photos=len(found[dataset.name]),
                masks=len(objects),
                left_out={**dataset.left_out, **left_out[dataset.name]},
            )
        )
    curves = [_curve(row, config) for row in rows if row.masks]
    if len(rows) > 1:
        mean = Row(
            name=MEAN,
            metrics={name: _mean([row.metrics[name] for row in rows]) for name in rows[0].metrics},
            photos=sum(row.photos for row in rows),
            masks=sum(row.masks or 0 for row in rows),
        )
        rows.append(mean)
        curves.append(_curve(mean, config))
    return Results(
        protocol="point-to-mask",
        checkpoint=checkpoint,
        settings={"clicks": list(config.clicks), "first click": config.first.value, "seed": config.seed},
        rows=rows,
        curves=curves,
        axes=("clicks", "mean IoU"),
        notes=notes,
    )


def _metrics(objects: Sequence[ClickOutcome], config: ClickConfig) -> dict[str, float | None]:
    after = {f"miou@{k}": [one.iou[k - 1] for one in objects] for k in config.clicks}
    best = {f"oracle@{config.clicks[0]}": [one.oracle[config.clicks[0] - 1] for one in objects]}
    return {name: _mean(values) for name, values in (after | best).items()}


def _mean(values: Sequence[float | int | None]) -> float | None:
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def _curve(row: Row, config: ClickConfig) -> Curve:
    return Curve(
        name=row.name, x=[float(k) for k in config.clicks], y=[row.metrics[f"miou@{k}"] or 0.0 for k in config.clicks]
    )


def photo_table(datasets: Sequence[Dataset], found: ClicksByPhoto, config: ClickConfig) -> str:
    """Return a line of CSV for each photo: its data set, id, name, number of objects and their mean IoU."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = False
    for dataset in datasets:
        for photo in dataset.photos:
            objects = found[dataset.name].get(photo.id)
            if not objects:
                continue
            metrics = _metrics(objects, config)
            if not header:
                writer.writerow(["dataset", "photo", "name", "masks", *metrics])
                header = True
            figures = [f"{value:.6f}" for value in metrics.values()]
            writer.writerow([dataset.name, photo.id, photo.name, len(objects), *figures])
    return text.getvalue()


class _Case(NamedTuple):
    dataset: str
    photo: Photo
    outcome: ClickOutcome


def cases(datasets: Sequence[Dataset], found: ClicksByPhoto) -> Cases:
    """Return the objects with the least IoU after the first click, and those in the middle of all."""
    every = [
        _Case(dataset.name, photo, one)
        for dataset in datasets
        for photo in dataset.photos
        for one in found[dataset.name].get(photo.id, ())
    ]
    ranked = sorted(every, key=lambda case: (case.outcome.iou[0], case.dataset, case.outcome.instance))
    return worst_and_median(ranked)


def draw_cases(predictor: Predictor, chosen: Sequence[_Case], config: ClickConfig) -> np.ndarray:
    """Return a sheet of objects, a row each, clicked again for their masks."""
    rows = []
    for case in chosen:
        instance = next(one for one in case.photo.instances if one.id == case.outcome.instance)
        image = case.photo.read()
        watched = click_objects(predictor, [image], [[instance]], config=config, keep_masks=True)[0][0]
        clicked = watched.outcome
        rows.append(
            SheetRow(
                image=image,
                truth=instance.mask(),
                name=f"{case.dataset} {case.photo.name}",
                truth_name=f"object {instance.id}",
                predictions=[watched.masks[k - 1] for k in config.clicks],
                clicks=[[(float(x), float(y), on) for x, y, on in clicked.places[:k]] for k in config.clicks],
                captions=[f"{k}: iou {clicked.iou[k - 1]:.2f}" for k in config.clicks],
                details=[f"predicted {clicked.predicted[k - 1]:.2f}" for k in config.clicks],
            )
        )
    return draw_sheet(rows)


def write_report(
    folder: Path,
    predictor: Predictor,
    datasets: Sequence[Dataset],
    found: ClicksByPhoto,
    results: Results,
    config: ClickConfig,
) -> None:
    """Write `photos.csv`, `clicks.png`, `worst.png` and `median.png`."""
    write_whole(folder / "photos.csv", photo_table(datasets, found, config))
    if results.curves:
        title = f"{results.protocol}: {results.axes[1]} against {results.axes[0]}"
        plot_curves(folder / "clicks.png", results.curves, title=title, axes=results.axes)
    for name, chosen in cases(datasets, found)._asdict().items():
        if chosen:
            write_png(folder / f"{name}.png", draw_cases(predictor, chosen, config))
