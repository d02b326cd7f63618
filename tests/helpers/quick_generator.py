"""A generator without a model, for tests of what happens to its masks."""

from collections.abc import Sequence

import numpy as np

from samjax.data.masks import rle
from samjax.predict.automatic.generated_mask import GeneratedMask, Highest


class QuickGenerator:
    """Finds a corner and a column in a photo, of sizes that depend on its pixels; nothing in one that is all black."""

    batch_size = 2

    def __init__(self, engine, config, *, batch_size=None):
        self.config = config
        self.highest = []

    def generate(self, photos: Sequence[np.ndarray]) -> list[list[GeneratedMask]]:
        self.highest = [Highest(iou=0.5, stability=None) for _ in photos]
        return [_masks(photo) if photo.any() else [] for photo in photos]


def _masks(photo: np.ndarray) -> list[GeneratedMask]:
    height, width = photo.shape[:2]
    side = 2 + int(photo.sum()) % 7
    corner, column = np.zeros((2, height, width), bool)
    corner[:side, :side], column[:, side] = True, True
    return [
        GeneratedMask(
            segmentation=rle.encode(mask),
            area=int(mask.sum()),
            box=box,
            predicted_iou=0.9,
            stability_score=0.95,
            point=(1.0, 1.0),
            crop_box=(0, 0, width, height),
        )
        for mask, box in ((corner, (0, 0, side - 1, side - 1)), (column, (side, 0, side, height - 1)))
    ]


def without_model(patch) -> None:
    """Let `samjax generate` use it, by a pytest.MonkeyPatch; the checkpoint must be there, and is not read."""
    patch.setattr("samjax.predict.automatic.generator.MaskGenerator", QuickGenerator)
    patch.setattr("samjax.predict.engine.Engine.from_checkpoint", lambda checkpoint: None)
