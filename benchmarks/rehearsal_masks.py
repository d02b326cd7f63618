"""The folders of masks that `data_engine.py` makes: read, compared with the truth, and given to other commands."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pycocotools import mask as coco
from rehearsal_photos import file_of
from simulated_annotator import PhotoTruth, Verdict, judge

from data_pipelines.holdout import HELD_OUT, Splits
from samjax.core.files import write_whole
from samjax.data.masks import rle
from samjax.data.records.masks import Record

HOLDOUTS = (0.05, 0.1, 0.2, 0.4, 0.6)
"""Shares of photos that may be held out."""


def read_masks(folder: Path, records: Iterable[Record]) -> list[tuple[Record, list[dict[str, Any]]]]:
    """Return the annotations of photos that have some in a folder in SA-1B's layout."""
    found = []
    for record in records:
        file = (folder / file_of(record)).with_suffix(".json")
        annotations = json.loads(file.read_text())["annotations"] if file.exists() else []
        if annotations:
            found.append((record, annotations))
    return found


def least_holdout(photos: Sequence[Record]) -> float:
    """Return the smallest share of which `samjax annotate retrain` holds one of the photos out, and not all.

    Raises:
      SystemExit: there is none.
    """
    for share in HOLDOUTS:
        held_out = sum(Splits(holdout=share).split_of(file_of(one)) == HELD_OUT for one in photos)
        if 0 < held_out < len(photos):
            return share
    raise SystemExit(f"of {len(photos)} photos with masks none can be held out: give more photos")


def write_coco(file: Path, masks: Sequence[tuple[Record, list[dict[str, Any]]]], *, photos: Path) -> None:
    """Write masks as COCO's JSON, for `samjax generate --tune`; names are the photos' paths below `photos`."""
    content: dict[str, list] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "object"}]}
    for record, annotations in masks:
        (path,) = photos.glob(f"*/{file_of(record)}")
        name = f"{path.parent.name}/{path.name}"
        size = {"height": record.height, "width": record.width}
        content["images"].append({"id": record.image_id, "file_name": name, **size})
        for one in annotations:
            box = [float(side) for side in coco.toBbox(one["segmentation"])]
            about = {"id": one["id"], "image_id": record.image_id, "category_id": 1, "iscrowd": 0}
            content["annotations"].append(
                {**about, "segmentation": one["segmentation"], "bbox": box, "area": one["area"]}
            )
    write_whole(file, json.dumps(content))


def compare(folder: Path, truths: Sequence[tuple[Record, PhotoTruth]], *, right: float) -> dict[str, Any]:
    """Return how generated masks compare with the truth: their counts by verdict on each photo, objects, and of these
    how many were found."""
    verdicts, objects, found = [], 0, 0
    for record, truth in truths:
        masks = [
            rle.decode(one["segmentation"]["counts"], height=record.height, width=record.width)
            for _, annotations in read_masks(folder, [record])
            for one in annotations
        ]
        judged = judge(masks, [*truth.objects, *truth.small], right=right)
        verdicts.append({verdict.value: sum(one is verdict for one, _ in judged) for verdict in Verdict})
        shown = {place for _, place in judged if place is not None}
        objects, found = objects + len(truth.objects), found + len(shown.intersection(range(len(truth.objects))))
    return {"verdicts": verdicts, "objects": objects, "found": found}
