"""Photos of which a model answers discs, so that every pixel is known."""

import io

import numpy as np
from PIL import Image

from samjax.data.masks import rle
from samjax.data.masks.rle import encode

RADII = (24.0, 40.0, 60.0)
"""Of the three candidates, in pixels of the photo, best first."""
GRID = 64
"""Cells along the longer side of the logits."""


def decode(runs):
    height, width = runs["size"]
    return rle.decode(runs["counts"], height=height, width=width)


def disc(height, width, x, y, radius):
    mask = np.zeros((height, width), bool)
    top, left = max(0, y - radius), max(0, x - radius)
    rows, columns = np.mgrid[top : min(height, y + radius + 1), left : min(width, x + radius + 1)]
    mask[rows, columns] = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
    return mask


def upscale(logits, valid, height, width):
    """Return the logits at the photo's size, by the mapping of the contract."""

    def taps(side, cells, covered):
        place = np.clip((np.arange(side) + 0.5) * covered / side - 0.5, 0, cells - 1)
        low = np.floor(place).astype(int)
        return low, np.minimum(low + 1, cells - 1), place - low

    y0, y1, fy = taps(height, logits.shape[0], valid[0])
    x0, x1, fx = taps(width, logits.shape[1], valid[1])
    rows = logits[y0] * (1 - fy)[:, None] + logits[y1] * fy[:, None]
    return rows[:, x0] * (1 - fx) + rows[:, x1] * fx


def proposal_uuid(place):
    return f"00000000-0000-4000-8000-{place:012d}"


def stored_mask(uuid, runs, source, who, iou, prompts, revision=None, seconds=0):
    """Return a mask as the routes give it."""
    return {
        "uuid": uuid,
        "revision": (revision or 0) + 1,
        "runs": runs,
        "source": source,
        "annotator": who,
        "seconds": seconds,
        "predicted_iou": iou,
        "stability_score": 0.98,
        "prompts": prompts,
    }


class DiscPhoto:
    """A photo and what people have made of it."""

    def __init__(self, number, width=320, height=240, *, proposals=(), jpeg=None):
        self.id, self.width, self.height = number, width, height
        self.masks, self.deleted, self.verdicts = {}, {}, {}
        self.proposals = [
            {
                "number": place,
                "runs": encode(mask),
                "predicted_iou": iou,
                "stability_score": 0.97,
                "state": "open",
                "revision": 0,
                "bbox": [0, 0, 1, 1],
                "uuid": proposal_uuid(place),
            }
            for place, (mask, iou) in enumerate(proposals)
        ]
        if jpeg is None:
            rows, columns = np.mgrid[:height, :width]
            picture = np.stack([60 + columns * 120 // width, 70 + rows * 100 // height, 90 + 0 * rows], -1)
            buffer = io.BytesIO()
            Image.fromarray(picture.astype(np.uint8)).save(buffer, "JPEG", quality=92)
            jpeg = buffer.getvalue()
        self.jpeg = jpeg

    @property
    def grid(self):
        longer = max(self.width, self.height)
        valid = (GRID * self.height / longer, GRID * self.width / longer)
        return int(np.ceil(valid[0])), int(np.ceil(valid[1])), valid

    def answer(self, prompts):
        """Return each candidate's logits: the distance to the edge of a disc, less what background points take."""
        height, width, valid = self.grid
        rows = (np.arange(height) + 0.5) * self.height / valid[0] - 0.5
        columns = (np.arange(width) + 0.5) * self.width / valid[1] - 0.5
        points = np.array(prompts["points"], float).reshape(-1, 2)
        labels = np.array(prompts["labels"])
        found = []
        for radius in RADII:
            inside = np.full((height, width), -1e3)
            if prompts["box"]:
                x0, y0, x1, y1 = prompts["box"]
                across = ((columns - (x0 + x1) / 2) / ((x1 - x0 + 1) / 2)) ** 2
                down = ((rows - (y0 + y1) / 2) / ((y1 - y0 + 1) / 2)) ** 2
                inside = (1 - np.sqrt(across[None] + down[:, None])) * 30 * radius / RADII[0]
            for (x, y), label in zip(points, labels, strict=True):
                away = np.hypot(columns[None] - x, rows[:, None] - y)
                inside = np.maximum(inside, radius - away) if label else np.minimum(inside, away - 12)
            found.append(inside / 4)
        return found
