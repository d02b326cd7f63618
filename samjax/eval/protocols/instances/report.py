"""What the masks of detections come to: the table, files for other scorers, a plot and sheets of photos."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco

from samjax.core.files import write_whole
from samjax.data.annotations.dataset import Photo
from samjax.eval.cases import Overlap, PhotoCase, write_sheets
from samjax.eval.evaluation_folder import EvaluationFolder
from samjax.eval.photo_reading import UNREADABLE, photo_key, readable
from samjax.eval.protocols.instances.detections import Detections
from samjax.eval.protocols.instances.protocol import ONCE, REFINED, box_results, mask_results
from samjax.eval.results import Results, Row, as_text
from samjax.pictures.plots import plot_bars
from samjax.scores.average_precision import ResultPart, average_precision
from samjax.scores.truth import Truth

BOXES, ONE_PASS, REFINED_ROW = "boxes given", "masks, one pass", "masks, refined"
_FILES = {ONCE: "predictions.json", REFINED: "refined.json"}
_ROWS = {ONCE: ONE_PASS, REFINED: REFINED_ROW}


def instance_results(
    truth: Truth,
    photos: Sequence[Photo],
    detections: Detections,
    folder: EvaluationFolder,
    *,
    refine: bool,
    checkpoint: str,
    settings: Mapping[str, Any],
    left_out: Mapping[str, int],
    notes: Sequence[str],
) -> Results:
    """Return AP, in percent as the paper's, of the boxes given, their masks and their refined masks.

    Writes the masks as COCO's results JSON into the folder: `predictions.json` and `refined.json`.
    """
    there = readable(photos, folder)
    truth = truth.of_photos([photo.id for photo in there])
    unreadable = {UNREADABLE: len(photos) - len(there)} if len(there) < len(photos) else {}
    scored = {BOXES: average_precision(truth, box_results(there, detections), of=ResultPart.BOXES)}
    for which in (ONCE, REFINED) if refine else (ONCE,):
        results = mask_results(there, detections, folder, which=which)
        write_whole(folder.path / _FILES[which], json.dumps(results, separators=(",", ":")))
        scored[_ROWS[which]] = average_precision(truth, results, of=ResultPart.MASKS)
    objects = sum(not one["iscrowd"] for one in truth.annotations)
    rows = [
        Row(
            name=name,
            metrics={metric: None if value is None else 100 * value for metric, value in metrics.items()},
            photos=len(there),
            masks=objects,
            left_out={**left_out, **unreadable} if name == BOXES else {},
        )
        for name, metrics in scored.items()
    ]
    without = sum(not detections.get(photo.id) for photo in there)
    told = [f"{without:,} of the photos have no box to prompt with"] if without else []
    return Results(protocol="instances", checkpoint=checkpoint, settings=settings, rows=rows, notes=[*notes, *told])


def write_report(
    truth: Truth,
    photos: Sequence[Photo],
    folder: EvaluationFolder,
    results: Results,
    *,
    refine: bool,
) -> None:
    """Write `ap.png`, and `worst.png` and `median.png` by the best IoU of any mask with each object."""
    bars = {row.name: row.metrics for row in results.rows}
    plot_bars(folder.path / "ap.png", bars, title=results.protocol, unit="AP, percent", written=as_text)
    found = (photo_case(truth, photo, folder, refine=refine) for photo in readable(photos, folder))
    write_sheets(folder.path, [case for case in found if case is not None])


def photo_case(truth: Truth, photo: Photo, folder: EvaluationFolder, *, refine: bool) -> PhotoCase | None:
    """Return the photo's objects, each with the mask that overlaps it most, whatever its category; None without any."""
    objects = [one["segmentation"] for one in truth.by_photo.get(photo.id, ()) if not one["iscrowd"]]
    if not objects:
        return None
    found = {}
    for which in (ONCE, REFINED) if refine else (ONCE,):
        masks = folder[photo_key(photo)][which]
        found[_ROWS[which]] = [Overlap(iou=0.0, mask=None)] * len(objects)
        if masks:
            given = [{"size": [photo.height, photo.width], "counts": one} for one in masks]
            overlaps = np.asarray(coco.iou(given, objects, [0] * len(objects)))  # type: ignore[arg-type]
            found[_ROWS[which]] = [
                Overlap(iou=float(of_object.max()), mask=masks[int(of_object.argmax())]) for of_object in overlaps.T
            ]
    return PhotoCase(photo=photo, objects=[one["counts"] for one in objects], overlaps=found)
