"""Annotations and detections drawn at random, with all that scoring has a rule for."""

import contextlib
import copy
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from samjax.data.masks import rle

SIZE = (150, 170)


def blob(draw: np.random.Generator, *, most: float = 60.0) -> np.ndarray:
    """Return an ellipse: of all three sizes, and now and then outside or of no pixel."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    centre = draw.uniform(0, SIZE)
    radii = draw.uniform(0.3, most, 2) * draw.choice([0.2, 1.0]) if draw.random() > 0.1 else (0.1, 0.1)
    return ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1


def near(mask: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    return np.roll(mask, draw.integers(-3, 4, 2), (0, 1))


def box_of(mask: np.ndarray) -> list[float]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return [0.0, 0.0, 0.0, 0.0]
    return [float(side) for side in (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)]


def random_content(seed: int, *, photos: int = 8, categories: int = 4, crowds: float = 0.0) -> dict:
    """Return a COCO JSON's content; some photos and categories have no annotation."""
    draw = np.random.default_rng(seed)
    images = [{"id": 10 * n + 3, "file_name": f"{n}.jpg", "height": SIZE[0], "width": SIZE[1]} for n in range(photos)]
    annotations = []
    for image in images[:-1]:
        for _ in range(draw.integers(1, 7)):
            mask = blob(draw)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": int(draw.integers(1, categories)) * 5,
                    "iscrowd": int(draw.random() < crowds),
                    "area": float(mask.sum() * draw.uniform(0.9, 1.1)),  # of its polygon, in COCO
                    "bbox": box_of(mask),
                    "segmentation": rle.encode(mask),
                }
            )
            if not mask.any():
                annotations[-1]["bbox"] = [1.0, 1.0, 0.5, 0.5]
    names = [{"id": 5 * n, "name": f"c{n}"} for n in range(1, categories + 1)]
    return {"images": images, "annotations": annotations, "categories": names}


def as_lvis(content: dict, seed: int, *, ignored: float = 0.0) -> dict:
    """Return the content with what LVIS adds."""
    draw = np.random.default_rng(seed)
    content = copy.deepcopy(content)
    ids = [one["id"] for one in content["categories"]]
    for place, one in enumerate(content["categories"]):
        one["frequency"] = "rcf"[place % 3]
    for one in content["annotations"]:
        del one["iscrowd"]
        if ignored:
            one["ignore"] = int(draw.random() < ignored)
    for image in content["images"]:
        present = {one["category_id"] for one in content["annotations"] if one["image_id"] == image["id"]}
        image["neg_category_ids"] = [one for one in ids if one not in present and draw.random() < 0.5]
        image["not_exhaustive_category_ids"] = [one for one in present if draw.random() < 0.4]
    return content


def random_results(content: dict, seed: int, *, of_photo: int = 14) -> list[dict]:
    """Return detections with a mask and a box each: of objects, beside them, of other categories, with equal scores."""
    draw = np.random.default_rng(seed)
    ids = [one["id"] for one in content["categories"]]
    results = []
    for image in content["images"]:
        there = [one for one in content["annotations"] if one["image_id"] == image["id"]]
        for _ in range(of_photo):
            mask, category = blob(draw), int(draw.choice(ids))
            if there and draw.random() < 0.7:
                one = there[draw.integers(len(there))]
                mask = near(rle.decode(one["segmentation"]["counts"], height=SIZE[0], width=SIZE[1]), draw)
                category = one["category_id"] if draw.random() < 0.8 else category
            results.append(
                {
                    "image_id": image["id"],
                    "category_id": category,
                    "score": float(np.round(draw.random(), 1)),
                    "segmentation": rle.encode(mask),
                    "bbox": box_of(mask),
                }
            )
    draw.shuffle(results)
    return results


def parts(results: list[dict], kind: str) -> list[dict]:
    """Return results with a mask or a box alone, as they are scored: the libraries take a mask's size from its box."""
    kept = {"segm": "segmentation", "bbox": "bbox"}[kind]
    return [{key: one[key] for key in ("image_id", "category_id", "score", kept)} for one in copy.deepcopy(results)]


def coco_evaluation(content: dict, results: list[dict], kind: str, **params) -> COCOeval:
    """Return pycocotools' evaluation, run and summarised as its users do."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(content)
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(parts(results, kind)) if results else COCO(), kind)
        if not results:
            evaluation.cocoDt.dataset = {**truth.dataset, "annotations": []}
            evaluation.cocoDt.createIndex()
        for name, value in params.items():
            setattr(evaluation.params, name, value)
        evaluation.evaluate()
        evaluation.accumulate()
        if "maxDets" not in params:
            evaluation.summarize()
    return evaluation
