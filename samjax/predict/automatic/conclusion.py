"""What of the masks of all crops stays: no repetitions, no specks (Segment Anything, appendix B)."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from samjax.data.masks import rle
from samjax.predict.automatic.generated_mask import GeneratedMask
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.nms import kept_boxes
from samjax.predict.automatic.specks import without_specks


def conclude(of_crops: Sequence[Sequence[GeneratedMask]], config: GeneratorConfig) -> list[GeneratedMask]:
    """Return a photo's masks: those of its crops without repetitions, and without specks."""
    masks = [mask for of_crop in of_crops for mask in of_crop]
    if config.crop_layers:
        areas = [(mask.crop_box[2] - mask.crop_box[0]) * (mask.crop_box[3] - mask.crop_box[1]) for mask in masks]
        masks = _distinct(masks, 1 / np.array(areas, np.float32), threshold=config.crop_nms_threshold)
    if config.min_region_area:
        masks = clean(masks, config)
    return masks


def clean(masks: Sequence[GeneratedMask], config: GeneratorConfig) -> list[GeneratedMask]:
    """Clean each mask; of those that are the same then, those that were so before stay."""
    cleaned = [_clean(mask, min_area=config.min_region_area) for mask in masks]
    unchanged = np.array([new is old for new, old in zip(cleaned, masks, strict=True)], np.float32)
    threshold = max(config.box_nms_threshold, config.crop_nms_threshold)
    return _distinct(cleaned, unchanged, threshold=threshold)


def _distinct(masks: list[GeneratedMask], scores: Float32[np.ndarray, "n"], *, threshold: float) -> list[GeneratedMask]:
    """Return the masks that suppression of their boxes leaves, by descending score."""
    boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
    return [masks[index] for index in kept_boxes(boxes, scores, threshold=threshold)]


def _clean(mask: GeneratedMask, *, min_area: int) -> GeneratedMask:
    """Return the mask without specks: itself if it has none."""
    height, width = mask.segmentation["size"]
    cleaned = without_specks(rle.decode(mask.segmentation["counts"], height=height, width=width), min_area=min_area)
    if not cleaned.differs:
        return mask
    rows, columns = np.flatnonzero(cleaned.mask.any(axis=1)), np.flatnonzero(cleaned.mask.any(axis=0))
    return dataclasses.replace(
        mask,
        segmentation=rle.encode(cleaned.mask),
        area=int(cleaned.mask.sum()),
        box=(int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])),
    )
