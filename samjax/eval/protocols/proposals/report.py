"""What proposals come to: average recall, a plot and sheets of photos."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samjax.data.annotations.dataset import Photo
from samjax.eval.cases import Overlap, PhotoCase, write_sheets
from samjax.eval.evaluation_folder import EvaluationFolder
from samjax.eval.photo_reading import UNREADABLE, photo_key, readable
from samjax.eval.protocols.proposals.protocol import PhotoProposals, ProposalConfig
from samjax.eval.results import Results, Row, as_text
from samjax.pictures.plots import plot_bars
from samjax.scores.recall import average_recall
from samjax.scores.truth import Truth

_NAMES = {"small": "ARs", "medium": "ARm", "large": "ARl", "frequent": "ARf", "common": "ARc", "rare": "ARr"}
_FOUND = "best proposals"


def proposal_results(
    truth: Truth,
    photos: Sequence[Photo],
    folder: EvaluationFolder,
    *,
    config: ProposalConfig,
    checkpoint: str,
    settings: Mapping[str, Any],
    left_out: Mapping[str, int],
    notes: Sequence[str],
) -> Results:
    """Return the average recall of masks, in percent as the paper's, whatever an object's category.

    ARs, ARm and ARl are of the objects of a size, and of LVIS ARf, ARc and ARr of those of frequent, common and rare
    categories, all with the most proposals.
    """
    there = readable(photos, folder)
    found = [PhotoProposals.from_json(folder[photo_key(photo)]) for photo in there]
    recall = average_recall(one.matches for one in found)
    most = config.limits[-1]
    metrics = {f"AR@{most}": _percent(recall, "all", most)}
    names = {group: name for group, name in _NAMES.items() if truth.federated or group in ("small", "medium", "large")}
    metrics |= {name: _percent(recall, group, most) for group, name in names.items()}
    metrics |= {f"AR@{limit}": _percent(recall, "all", limit) for limit in config.limits[:-1]}
    metrics["proposals"] = float(np.mean([one.proposals for one in found])) if found else None
    unreadable = {UNREADABLE: len(photos) - len(there)} if len(there) < len(photos) else {}
    row = Row(
        name="one mask a point" if config.generator.masks_per_point == 1 else "three masks a point",
        metrics=metrics,
        photos=len(there),
        masks=sum(one.matches.objects["all"] for one in found),
        left_out={**left_out, **unreadable},
    )
    return Results(
        protocol="proposals",
        checkpoint=checkpoint,
        settings=settings,
        rows=[row],
        notes=[*notes, "proposals: the mean number of a photo"],
    )


def _percent(recall: Mapping[str, Mapping[int, float | None]], group: str, limit: int) -> float | None:
    value = recall.get(group, {}).get(limit)
    return None if value is None else 100 * value


def write_report(truth: Truth, photos: Sequence[Photo], folder: EvaluationFolder, results: Results) -> None:
    """Write `ar.png`, and `worst.png` and `median.png` by the best IoU of any proposal with each object."""
    row = results.rows[0]
    recalls = {name: value for name, value in row.metrics.items() if name != "proposals"}
    bars = {row.name: recalls}
    plot_bars(folder.path / "ar.png", bars, title=results.protocol, unit="AR, percent", written=as_text)
    cases = []
    for photo in readable(photos, folder):
        found = PhotoProposals.from_json(folder[photo_key(photo)])
        objects = truth.by_photo.get(photo.id, ())
        if found.matches.best:
            overlaps = [
                Overlap(iou=iou, mask=mask) for (_, iou, _), mask in zip(found.matches.best, found.best, strict=True)
            ]
            counts = [objects[place]["segmentation"]["counts"] for place, *_ in found.matches.best]
            cases.append(PhotoCase(photo=photo, objects=counts, overlaps={_FOUND: overlaps}))
    write_sheets(folder.path, cases)
