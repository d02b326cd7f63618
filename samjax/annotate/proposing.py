"""A model's proposals for photos: from its own grid of points, or from a detector's boxes (Segment Anything, section 4,
stage 2)."""

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from samjax.annotate.clickable_photo import ClickablePhoto, measure_stability
from samjax.annotate.photo_encoding import encode_jpeg
from samjax.annotate.photo_list import ListedPhoto
from samjax.annotate.prompt_request import PromptRequest
from samjax.annotate.proposal import Proposal
from samjax.data.masks import rle
from samjax.predict.automatic.generated_mask import GeneratedMask
from samjax.predict.automatic.generator import MaskGenerator
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.nms import kept_boxes
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_masks import restore_masks

Corners = tuple[float, float, float, float]
"""(x0, y0, x1, y1) in pixels of a photo."""


def propose_from_grid(generator: MaskGenerator, jpeg: bytes) -> list[Proposal]:
    """Return what the generator finds in a photo, by descending predicted IoU."""
    with Image.open(io.BytesIO(jpeg)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    (found,) = generator.generate([pixels])
    return _numbered([_of_generated(mask) for mask in found])


def propose_from_boxes(
    engine: Engine, photo: ListedPhoto, jpeg: bytes, boxes: Sequence[Corners], *, config: GeneratorConfig
) -> list[Proposal]:
    """Return the masks of objects that a detector has put boxes around, by descending predicted IoU.

    Each box prompts the model alone; of the three candidates the one with the highest predicted IoU is taken, if that
    and its stability pass the thresholds of `config`. Of masks whose boxes overlap by more than its
    `box_nms_threshold`, the one with the highest predicted IoU stays.

    Args:
      engine: of one device or several.
      photo: a listed photo, and its `jpeg`.
      boxes: inside the photo, each with an area.
      config: the generator's settings, of which the thresholds count.
    """
    if not boxes:
        return []
    size = (photo.height, photo.width)
    clickable = ClickablePhoto(engine, encode_jpeg(engine, jpeg), photo_id=photo.id, size=size)
    found: list[Proposal] = []
    for box in boxes:
        x0, y0, x1, y1 = box
        answer = clickable.answer(PromptRequest(annotator="", box=box), None)
        iou = float(answer.iou[0])
        if iou <= config.pred_iou_threshold:
            continue
        stability = float(measure_stability(engine, answer.logits, size=size)[0])
        if stability < config.stability_threshold:
            continue
        mask = restore_masks(engine, answer.logits[None], photo=size)[0, 0]
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            left, top = float(columns[0]), float(rows[0])
            found.append(
                Proposal(
                    number=0,
                    runs=rle.encode(mask),
                    bbox=(left, top, float(columns[-1]) - left, float(rows[-1]) - top),
                    predicted_iou=iou,
                    stability_score=stability,
                    point=((x0 + x1) / 2, (y0 + y1) / 2),
                )
            )
    return _numbered(_without_doubles(found, threshold=config.box_nms_threshold))


def _without_doubles(found: list[Proposal], *, threshold: float) -> list[Proposal]:
    if not found:
        return []
    sides = np.array([one.bbox for one in found], np.float32)
    corners = np.concatenate([sides[:, :2], sides[:, :2] + sides[:, 2:]], axis=1)
    scores = np.array([one.predicted_iou for one in found], np.float32)
    return [found[place] for place in kept_boxes(corners, scores, threshold=threshold)]


def _of_generated(mask: GeneratedMask) -> Proposal:
    x0, y0, x1, y1 = (float(side) for side in mask.box)
    return Proposal(
        number=0,
        runs=mask.segmentation,
        bbox=(x0, y0, x1 - x0, y1 - y0),
        predicted_iou=mask.predicted_iou,
        stability_score=mask.stability_score,
        point=mask.point,
    )


def _numbered(proposals: Sequence[Proposal]) -> list[Proposal]:
    ordered = sorted(proposals, key=lambda one: -one.predicted_iou)
    return [replace(one, number=number) for number, one in enumerate(ordered)]
