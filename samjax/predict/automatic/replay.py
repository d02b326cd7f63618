"""What a generator with other thresholds would find, without the model: from all candidates of a photo.

generator = MaskGenerator(engine, every_candidate(config))
(of_crops,) = generator.look([photo], 0)
candidates = Candidates.of(of_crops, size=photo.shape[:2])
chosen = choose(candidates, config)          # what MaskGenerator(engine, config).generate([photo]) finds
masks = candidates.masks(chosen)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32, Int64

from samjax.predict.automatic.candidates import filters_of
from samjax.predict.automatic.generated_mask import GeneratedMask
from samjax.predict.automatic.generator_config import GeneratorConfig
from samjax.predict.automatic.nms import highest_below
from samjax.predict.automatic.nms_loop import suppress_in_groups


def every_candidate(config: GeneratorConfig) -> GeneratorConfig:
    """Return `config` without filters and suppression."""
    return replace(
        config,
        pred_iou_threshold=0.0,
        stability_threshold=0.0,
        box_nms_threshold=1.0,
        crop_nms_threshold=1.0,
        max_area_fraction=1.0,
        min_region_area=0,
    )


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """All candidates of one photo as arrays, crop by crop, in each by descending predicted IoU.

    A candidate takes 64 bytes and its compressed run lengths.
    """

    size: tuple[int, int]
    """Of the photo, (h, w)."""
    crop: Int32[np.ndarray, "n"]
    """Which of `crop_boxes` each was found in."""
    crop_boxes: Int32[np.ndarray, "c 4"]
    iou: Float32[np.ndarray, "n"]
    """Predicted."""
    stability: Float32[np.ndarray, "n"]
    area: Int32[np.ndarray, "n"]
    box: Int32[np.ndarray, "n 4"]
    """In pixels of the photo, the last ones included."""
    point: Float64[np.ndarray, "n 2"]
    counts: bytes
    """Run lengths of all, one after the other."""
    ends: Int64[np.ndarray, "n"]
    """Where in `counts` those of each end."""

    @classmethod
    def of(cls, of_crops: Sequence[Sequence[GeneratedMask]], *, size: tuple[int, int]) -> "Candidates":
        """Return the masks of a photo's crops, in the order of the crops, as a generator that drops none finds them."""
        masks = [mask for of_crop in of_crops for mask in of_crop]
        those = [of_crop for of_crop in of_crops if of_crop]
        counts = [mask.segmentation["counts"].encode("ascii") for mask in masks]
        return cls(
            size=size,
            crop=np.repeat(np.arange(len(those), dtype=np.int32), [len(of_crop) for of_crop in those]),
            crop_boxes=np.array([of_crop[0].crop_box for of_crop in those], np.int32).reshape(-1, 4),
            iou=np.array([mask.predicted_iou for mask in masks], np.float32),
            stability=np.array([mask.stability_score for mask in masks], np.float32),
            area=np.array([mask.area for mask in masks], np.int32),
            box=np.array([mask.box for mask in masks], np.int32).reshape(-1, 4),
            point=np.array([mask.point for mask in masks], np.float64).reshape(-1, 2),
            counts=b"".join(counts),
            ends=np.cumsum([len(one) for one in counts], dtype=np.int64),
        )

    @classmethod
    def join(cls, parts: Sequence["Candidates"]) -> "Candidates":
        """Return the candidates of several layers of crops of one photo, in their order."""
        crops = np.cumsum([0, *(len(part.crop_boxes) for part in parts)])
        starts = np.cumsum([0, *(len(part.counts) for part in parts)])
        return cls(
            size=parts[0].size,
            crop=np.concatenate([part.crop + np.int32(first) for part, first in zip(parts, crops[:-1], strict=True)]),
            ends=np.concatenate([part.ends + start for part, start in zip(parts, starts[:-1], strict=True)]),
            counts=b"".join(part.counts for part in parts),
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in ("crop_boxes", "iou", "stability", "area", "box", "point")
            },
        )

    def __len__(self) -> int:
        return len(self.iou)

    def segmentations(self) -> list[dict[str, Any]]:
        """Return the compressed run lengths of all."""
        return [self._segmentation(place) for place in range(len(self))]

    def masks(self, places: Int[np.ndarray, "k"]) -> list[GeneratedMask]:
        """Return those at `places` as a generator returns them."""
        return [
            GeneratedMask(
                segmentation=self._segmentation(place),
                area=int(self.area[place]),
                box=tuple(self.box[place].tolist()),
                predicted_iou=float(self.iou[place]),
                stability_score=float(self.stability[place]),
                point=tuple(self.point[place].tolist()),
                crop_box=tuple(self.crop_boxes[self.crop[place]].tolist()),
            )
            for place in places.tolist()
        ]

    def _segmentation(self, place: int) -> dict[str, Any]:
        start = int(self.ends[place - 1]) if place else 0
        return {"size": list(self.size), "counts": self.counts[start : int(self.ends[place])].decode("ascii")}


def choose(candidates: Candidates, config: GeneratorConfig) -> Int64[np.ndarray, "k"]:
    """Return which candidates a generator with the thresholds of `config` keeps, in its order, before it cleans specks.

    Exact: the filters and suppressions of `MaskGenerator`, in the same order and arithmetic.

    Args:
      candidates: of the grid of `config`, by a generator that drops none, see `every_candidate`. All other settings
        than thresholds and `min_region_area` must be those of `config`.
    """
    boxes = candidates.box.astype(np.float32)
    places = np.flatnonzero(_passing(candidates, config))
    places = _suppress(boxes, candidates.crop, places, config.box_nms_threshold)
    if config.crop_layers:
        sides = candidates.crop_boxes[candidates.crop[places]]
        areas = (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])
        places = places[np.argsort(-(1 / areas.astype(np.float32)), kind="stable")]
        places = _suppress(boxes, np.zeros_like(candidates.crop), places, config.crop_nms_threshold)
    return places


def _passing(candidates: Candidates, config: GeneratorConfig) -> Bool[np.ndarray, "n"]:
    filters = filters_of(config)
    pixels = np.float32(candidates.size[0]) * np.float32(candidates.size[1])
    largest = np.float32(filters.largest_fraction) * pixels
    passing = (candidates.iou > filters.iou_above) & (candidates.stability >= filters.stability_from)
    return passing & (candidates.area.astype(np.float32) <= largest)


def _suppress(
    boxes: Float32[np.ndarray, "n 4"],
    groups: Int32[np.ndarray, "n"],
    places: Int64[np.ndarray, "k"],
    threshold: float,
) -> Int64[np.ndarray, "kept"]:
    kept = np.empty_like(places)
    return kept[: suppress_in_groups(boxes, groups, places, highest_below(threshold), kept)]
