"""Zero-shot edges: every photo of a data set detected, counted, and the figures of all (section 7.2)."""

import collections
import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from samjax.core.files import write_png
from samjax.eval.evaluation_folder import EvaluationFolder
from samjax.eval.protocols.edges.bsds import EdgeDataset, EdgePhoto
from samjax.eval.protocols.edges.edge_scores import Best, EdgeScores, best_of, score
from samjax.eval.protocols.edges.gradient_edges import SIGMA, canny, sobel
from samjax.eval.protocols.edges.levels import THRESHOLDS, as_levels, level_of
from samjax.eval.protocols.edges.mask_edges import edges_config
from samjax.eval.protocols.edges.matching import RADIUS, Counts, count
from samjax.eval.protocols.edges.suppression import BORDER
from samjax.eval.results import Results, Row
from samjax.pictures.edge_sheet import EdgeRow, draw_edge_sheet
from samjax.pictures.plots import Curve
from samjax.pictures.precision_recall import DetectorCurve, plot_precision_recall

Detect = Callable[[Sequence[UInt8[np.ndarray, "_ _ 3"]]], list[Float32[np.ndarray, "_ _"]]]
"""Edge maps of photos, in [0, 1]."""

NOTES = ("F, AP and R50 as the benchmark of BSDS500 counts them: 99 thresholds, a radius of 0.0075 of the diagonal.",)
_THREADS = 2
_AHEAD = 2
"""Batches detected before the one that is being counted."""


def baseline(method: str, *, sigma: float = SIGMA) -> Detect:
    """Return the detector without a model that is called `method`, sobel or canny; `sigma` is sobel's alone."""
    detect = functools.partial(sobel, sigma=sigma) if method == "sobel" else canny
    return lambda photos: [detect(photo) for photo in photos]


def settings(method: str, *, split: str, sigma: float = SIGMA) -> dict[str, Any]:
    """Return what the figures of `method` depend on, besides checkpoint and data."""
    about = {"method": method, "split": split, "radius": RADIUS, "thresholds": len(THRESHOLDS)}
    if method != "sam":
        return about | {"sigma": sigma}
    config = edges_config()
    grid = {"points_per_side": config.points_per_side, "box_nms_threshold": config.box_nms_threshold}
    return about | grid | {"border": BORDER}


def detect_and_count(
    dataset: EdgeDataset,
    detect: Detect,
    folder: EvaluationFolder,
    *,
    batch_size: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Record the counts of every photo that `folder` has none of, and write its edge map to `edges/ID.png`.

    A map is counted as it is written, in 8 bits that reach the thresholds that it does. Photos are counted on threads
    while others are detected.

    Raises:
      UserError: a photo or its ground truth is damaged, or a file cannot be written.
    """
    maps = folder.path / "edges"
    maps.mkdir(exist_ok=True)
    todo = [photo for photo in dataset.photos if photo.id not in folder]
    waiting: collections.deque[tuple[EdgePhoto, Future[Counts]]] = collections.deque()

    def record_first() -> None:
        photo, counting = waiting.popleft()
        folder.record(photo.id, as_json(counting.result()))
        progress(1)

    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for start in range(0, len(todo), batch_size):
                batch = todo[start : start + batch_size]
                found = detect([photo.read() for photo in batch])
                for photo, edges in zip(batch, found, strict=True):
                    waiting.append((photo, pool.submit(_count, photo, edges, maps / f"{photo.id}.png")))
                while len(waiting) > max(_THREADS, _AHEAD * batch_size):
                    record_first()
            while waiting:
                record_first()
        finally:
            for _, counting in waiting:
                counting.cancel()


def _count(photo: EdgePhoto, edges: Float32[np.ndarray, "h w"], path: Path) -> Counts:
    levels = as_levels(edges)
    write_png(path, levels)
    return count(levels, photo.boundaries(), thresholds=THRESHOLDS)


def as_json(counts: Counts) -> dict[str, Any]:
    """Return counts as JSON holds them."""
    return {
        "found": counts.hits.tolist(),
        "boundary": counts.boundary,
        "right": counts.right.tolist(),
        "detected": counts.detections.tolist(),
    }


def from_json(said: Mapping[str, Any]) -> Counts:
    """Return what `as_json` was given."""
    found, right, detected = (np.array(said[kind], np.int64) for kind in ("found", "right", "detected"))
    return Counts(hits=found, boundary=said["boundary"], right=right, detections=detected)


def conclude(
    dataset: EdgeDataset, folder: EvaluationFolder, *, checkpoint: str, settings: Mapping[str, Any]
) -> Results:
    """Return the results of photos that are all recorded; draw `pr_curve.png` and `sheet.png`."""
    method = settings["method"]
    counts = [from_json(folder[photo.id]) for photo in dataset.photos]
    scores = score(counts)
    detector = DetectorCurve(
        name=f"{method}, ODS {scores.ods.f:.3f}",
        recall=scores.recall,
        precision=scores.precision,
        best_recall=scores.ods.recall,
        best_precision=scores.ods.precision,
    )
    plot_precision_recall(folder.path / "pr_curve.png", [detector], title="edges: precision by recall, F grey")
    write_png(folder.path / "sheet.png", draw_edge_sheet(_examples(dataset, counts, folder.path / "edges")))
    ascending = np.argsort(scores.recall, kind="stable")
    curve = Curve(name=method, x=scores.recall[ascending].tolist(), y=scores.precision[ascending].tolist())
    return Results(
        protocol="edges",
        checkpoint=checkpoint,
        settings=dict(settings),
        rows=[Row(name=dataset.name, metrics=_metrics(scores), photos=len(dataset.photos), left_out=dataset.left_out)],
        curves=[curve],
        axes=("recall", "precision"),
        notes=NOTES,
    )


def _metrics(scores: EdgeScores) -> dict[str, float | None]:
    return {
        "ODS": scores.ods.f,
        "OIS": scores.ois,
        "AP": scores.average_precision,
        "R50": scores.r50,
        "ODS threshold": scores.ods.threshold,
    }


def _examples(dataset: EdgeDataset, counts: Sequence[Counts], maps: Path) -> list[EdgeRow]:
    """Return the photos whose own best F is the least, the median and the greatest; each once."""
    best = [best_of(one) for one in counts]
    order = sorted(range(len(best)), key=lambda k: best[k].f)
    names = {order[(len(order) - 1) // 2]: "median", order[-1]: "best", order[0]: "worst"}
    rows = []
    for k in sorted(names, key=order.index):
        photo = dataset.photos[k]
        with Image.open(maps / f"{photo.id}.png") as picture:
            edges = np.array(picture)
        rows.append(
            EdgeRow(
                photo=photo.read(),
                boundaries=np.asarray(np.mean(photo.boundaries(), axis=0), np.float32),
                edges=edges,
                strong=edges >= level_of(best[k].threshold),
                name=f"{names[k]}: {photo.id}" if len(order) > 1 else photo.id,
                detail=_detail(best[k]),
            )
        )
    return rows


def _detail(best: Best) -> str:
    return f"F {best.f:.3f}, precision {best.precision:.2f}, recall {best.recall:.2f}, from {best.threshold:.2f}"
