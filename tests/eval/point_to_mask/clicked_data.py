"""Data sets and a predictor whose answers are known, for tests of the protocol."""

import numpy as np

from samjax.core.errors import UserError
from samjax.data.annotations.dataset import Dataset, Instance, Photo
from samjax.data.masks import rle
from samjax.predict.promptable.predictor import Prediction, Predictor

SIZE = (40, 60)


def rectangle(top: int, left: int, bottom: int, right: int, size=SIZE) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def photo_of(number: int, masks, *, crowd=(), read=None, name: str = "") -> Photo:
    height, width = masks[0].shape
    return Photo(
        id=number,
        name=name or f"{number}.jpg",
        height=height,
        width=width,
        instances=tuple(
            Instance(id=100 * number + i, segmentation=rle.encode(mask), crowd=i in crowd)
            for i, mask in enumerate(masks)
        ),
        read=read or (lambda: np.full((height, width, 3), number, np.uint8)),
    )


def dataset_of(name: str, photos, **fields) -> Dataset:
    return Dataset(name=name, photos=photos, categories={1: "thing"}, **fields)


def unreadable():
    raise UserError("lost.jpg: no such file")


class Neighbourhood(Predictor):
    """Answers with squares of 3, 5 and 7 pixels a side around the last point, and trusts the 5; then with that alone.

    Nothing of the photo or the earlier clicks is looked at.
    """

    def __init__(self):
        self.sizes = []
        self.asked = []

    def set_images(self, images):
        self.sizes = [image.shape[:2] for image in images]

    def predict_each(self, *, points=None, labels=None, boxes=None, mask_logits=None, multimask=True):
        del boxes
        self.asked.append((points, labels, mask_logits is not None, multimask))
        assert points is not None
        return [
            Prediction(
                masks=np.stack(
                    [
                        [_square(last, side, size) for side in ((3, 5, 7) if multimask else (5,))]
                        for last in (object_points[-1] for object_points in of_photo)
                    ]
                ),
                iou=np.tile(np.float32([0.2, 0.9, 0.4] if multimask else [0.5]), (len(of_photo), 1)),
                logits=np.zeros((len(of_photo), 3 if multimask else 1, 4, 4), np.float32),
            )
            for of_photo, size in zip(points, self.sizes, strict=True)
        ]


def _square(point, side: int, size) -> np.ndarray:
    x, y = point
    reach = side // 2
    return rectangle(max(0, y - reach), max(0, x - reach), y + reach + 1, x + reach + 1, size)
