"""Settings scored on candidates that are made by hand."""

import dataclasses

import numpy as np
import pytest

from samjax.data.masks import rle
from samjax.eval.tuning.photo_candidates import PhotoCandidates
from samjax.eval.tuning.search import Search
from samjax.predict.automatic.generated_mask import GeneratedMask
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.replay import Candidates
from samjax.scores.single_iou import PhotoOverlaps
from samjax.scores.truth import Truth

SIZE = (40, 40)


def square(top: int, *, hole: bool = False) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[top : top + 20, 5:25] = True
    mask[top + 8 : top + 10, 10:12] = not hole
    return mask


def generated(mask: np.ndarray, iou: float) -> GeneratedMask:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return GeneratedMask(
        segmentation=rle.encode(mask),
        area=int(mask.sum()),
        box=(int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])),
        predicted_iou=iou,
        stability_score=0.9,
        point=(1.0, 1.0),
        crop_box=(0, 0, 40, 40),
    )


def test_cleaned_masks_keep_their_confidence():
    """A mask with a hole comes after those without one when it is cleaned, and still is the most confident."""
    object_ = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": rle.encode(square(5))}
    image = {"id": 1, "height": SIZE[0], "width": SIZE[1]}
    truth = Truth.of({"images": [image], "annotations": [object_], "categories": [{"id": 1}]}).class_agnostic()
    masks = [generated(square(5, hole=True), 0.75), generated(square(9), 0.5)]
    candidates = Candidates.of([masks], size=SIZE)
    overlaps = PhotoOverlaps.of(candidates.segmentations(), truth.by_photo[1])
    photo = PhotoCandidates(photo=1, candidates=candidates, overlaps=overlaps)
    search = Search([photo], truth, GeneratorConfig(), fixed=())
    for area in (0, 10):
        score = search.score(dataclasses.replace(search.base, min_region_area=area))
        assert score.masks == 2
        assert score.ap50 == pytest.approx(1.0)
        assert score.precision == 0.5
