"""The published algorithm of automatic masks, plainly: every mask in full, NumPy alone, nothing saved.

From the paper (section 4, appendix B) and the released code's settings, with its order of filters. The model is a
function from a crop's pixels and points in them to low-resolution logits and predicted IoUs.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from helpers.bilinear import through_frame
from scipy import ndimage

from samjax.predict.automatic.generator_config import GeneratorConfig

Model = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(kw_only=True)
class Restated:
    """A mask in the photo, with the logits it is of in its crop."""

    mask: np.ndarray
    logits: np.ndarray
    box: list[int]
    iou: np.float32
    stability: np.float32
    point: list[float]
    crop: tuple[int, int, int, int]


def crop_windows(height: int, width: int, config: GeneratorConfig) -> list[tuple[int, tuple[int, int, int, int]]]:
    windows = [(0, (0, 0, width, height))]
    for layer in range(1, config.crop_layers + 1):
        n = 2**layer
        overlap = int(config.crop_overlap * min(height, width) * (2 / n))
        crop_w = math.ceil((overlap * (n - 1) + width) / n)
        crop_h = math.ceil((overlap * (n - 1) + height) / n)
        for i, j in itertools.product(range(n), range(n)):
            x, y = (crop_w - overlap) * i, (crop_h - overlap) * j
            windows.append((layer, (x, y, min(x + crop_w, width), min(y + crop_h, height))))
    return windows


def box_of(mask: np.ndarray) -> list[int]:
    y, x = np.nonzero(mask)
    return [int(x.min()), int(y.min()), int(x.max()), int(y.max())] if len(x) else [0, 0, 0, 0]


def greedy(boxes: list[list[int]], scores: list[float], threshold: float) -> list[int]:
    """Return the indices that non-maximum suppression keeps: each box against each, one after the other."""
    boxes32 = np.array(boxes, np.float32).reshape(-1, 4)
    area = (boxes32[:, 2] - boxes32[:, 0]) * (boxes32[:, 3] - boxes32[:, 1])
    order = sorted(range(len(scores)), key=lambda i: (-np.float32(scores[i]), i))
    kept: list[int] = []
    for i in order:
        for j in kept:
            w = max(np.float32(0), min(boxes32[i, 2], boxes32[j, 2]) - max(boxes32[i, 0], boxes32[j, 0]))
            h = max(np.float32(0), min(boxes32[i, 3], boxes32[j, 3]) - max(boxes32[i, 1], boxes32[j, 1]))
            union = area[i] + area[j] - w * h
            if union > 0 and float(w * h / union) > threshold:
                break
        else:
            kept.append(i)
    return kept


def near_inner_edge(box: list[int], crop: tuple[int, ...], height: int, width: int) -> bool:
    x, y = crop[:2]
    placed = [box[0] + x, box[1] + y, box[2] + x, box[3] + y]
    return any(
        abs(side - edge) <= 20 and abs(side - end) > 20
        for side, edge, end in zip(placed, crop, (0, 0, width, height), strict=True)
    )


def without_regions(mask: np.ndarray, min_area: int, *, holes: bool) -> tuple[np.ndarray, bool]:
    labels, count = ndimage.label(holes ^ mask, np.ones((3, 3)))
    sizes = [int((labels == label).sum()) for label in range(1, count + 1)]
    small = [label for label, size in enumerate(sizes, 1) if size < min_area]
    if not small:
        return mask, False
    if holes:
        return mask | np.isin(labels, small), True
    large = [label for label in range(1, count + 1) if label not in small]
    return np.isin(labels, large or [int(np.argmax(sizes)) + 1]), True


def restated(photo: np.ndarray, model: Model, config: GeneratorConfig, *, frame: tuple[int, int]) -> list[Restated]:
    """Return the photo's masks."""
    height, width = photo.shape[:2]
    found: list[Restated] = []
    windows = crop_windows(height, width, config)
    for layer, crop in windows:
        x0, y0, x1, y1 = crop
        pixels = photo[y0:y1, x0:x1]
        size = pixels.shape[:2]
        scale = min(frame[0] / size[0], frame[1] / size[1])
        fitted = (int(size[0] * scale + 0.5), int(size[1] * scale + 0.5))
        n = int(config.points_per_side / config.points_downscale**layer)
        places = np.linspace(1 / (2 * n), 1 - 1 / (2 * n), n)
        points = np.array([[x * size[1], y * size[0]] for y in places for x in places])
        logits, iou = model(pixels, points)
        of_crop: list[Restated] = []
        for point, (candidates, predicted) in zip(points, zip(logits, iou, strict=True), strict=True):
            for low, score in zip(candidates, predicted, strict=True):
                if config.pred_iou_threshold > 0 and not score > np.float32(config.pred_iou_threshold):
                    continue
                full = through_frame(low, frame=frame, fitted=fitted, photo=size)
                high, wide = (full > config.stability_offset).sum(), (full > -config.stability_offset).sum()
                stability = np.float32(high) / np.float32(max(wide, 1))
                mask = full > 0
                if not mask.any() or (
                    config.stability_threshold > 0 and not stability >= np.float32(config.stability_threshold)
                ):
                    continue
                if mask.sum() > config.max_area_fraction * height * width:
                    continue
                box = box_of(mask)
                if near_inner_edge(box, crop, height, width):
                    continue
                whole = np.zeros((height, width), bool)
                whole[y0:y1, x0:x1] = mask
                of_crop.append(
                    Restated(
                        mask=whole,
                        logits=full,
                        box=box,
                        iou=score,
                        stability=stability,
                        point=[float(point[0]) + x0, float(point[1]) + y0],
                        crop=crop,
                    )
                )
        kept = greedy([one.box for one in of_crop], [one.iou for one in of_crop], config.box_nms_threshold)
        for index in kept:
            box = of_crop[index].box
            of_crop[index].box = [box[0] + x0, box[1] + y0, box[2] + x0, box[3] + y0]
            found.append(of_crop[index])
    if len(windows) > 1:
        scores = [1 / np.float32((m.crop[2] - m.crop[0]) * (m.crop[3] - m.crop[1])) for m in found]
        found = [found[i] for i in greedy([m.box for m in found], scores, config.crop_nms_threshold)]
    if config.min_region_area > 0:
        unchanged = []
        for one in found:
            one.mask, filled = without_regions(one.mask, config.min_region_area, holes=True)
            one.mask, removed = without_regions(one.mask, config.min_region_area, holes=False)
            unchanged.append(float(not (filled or removed)))
            if filled or removed:
                one.box = box_of(one.mask)
        threshold = max(config.box_nms_threshold, config.crop_nms_threshold)
        found = [found[i] for i in greedy([one.box for one in found], unchanged, threshold)]
    return found
