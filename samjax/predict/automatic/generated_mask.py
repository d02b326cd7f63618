"""What a generator finds in a photo."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class GeneratedMask:
    """One object of a photo. All places are pixels of the photo, (x, y)."""

    segmentation: dict[str, Any]
    """Compressed COCO run lengths: `{"size": [h, w], "counts": text}`."""
    area: int
    box: tuple[int, int, int, int]
    """(x0, y0, x1, y1), the last pixels inside included."""
    predicted_iou: float
    stability_score: float
    point: tuple[float, float]
    """The prompt that the mask is of."""
    crop_box: tuple[int, int, int, int]
    """(x0, y0, x1, y1) of the crop that was looked at, its far edges outside."""

    def annotation(self, id: int) -> dict[str, Any]:
        """Return the mask as SA-1B writes it; its boxes are (x, y, width, height)."""
        return {
            "id": id,
            "segmentation": self.segmentation,
            "bbox": _sides(self.box),
            "area": self.area,
            "predicted_iou": self.predicted_iou,
            "stability_score": self.stability_score,
            "crop_box": _sides(self.crop_box),
            "point_coords": [list(self.point)],
        }


def _sides(box: tuple[int, int, int, int]) -> list[float]:
    return [float(side) for side in (box[0], box[1], box[2] - box[0], box[3] - box[1])]


@dataclass(frozen=True, kw_only=True)
class Highest:
    """The highest figures among all candidates of a photo, whether they pass the thresholds or not."""

    iou: float
    """Predicted."""
    stability: float | None
    """Of candidates whose predicted IoU is above the threshold; others are not measured. None where there is none."""
