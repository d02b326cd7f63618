"""Photos of annotations, and models that know the answer."""

import contextlib
import json

import numpy as np
from scored_data import SIZE, box_of

from samjax.data.annotations.dataset import Instance, Photo
from samjax.data.masks import rle
from samjax.eval.ground_truth import AnnotatedPhotos
from samjax.predict.automatic.generator import GeneratedMask, MaskGenerator
from samjax.predict.promptable.predictor import Prediction, Predictor
from samjax.scores.truth import Truth


class KilledError(Exception):
    pass


def mask_of(counts: str) -> np.ndarray:
    return rle.decode(counts, height=SIZE[0], width=SIZE[1])


def annotated(content: dict, *, unreadable=()) -> AnnotatedPhotos:
    """Return photos whose first pixel is their place in the content."""
    photos = []
    for place, image in enumerate(content["images"]):

        def read(place=place, number=image["id"]):
            if number in unreadable:
                from samjax.core.errors import UserError

                raise UserError(f"{number}.jpg: no such file")
            return np.full((*SIZE, 3), place, np.uint8)

        instances = tuple(
            Instance(id=one["id"], segmentation=one["segmentation"])
            for one in content["annotations"]
            if one["image_id"] == image["id"]
        )
        photos.append(
            Photo(id=image["id"], name=f"{place}.jpg", height=SIZE[0], width=SIZE[1], instances=instances, read=read)
        )
    return AnnotatedPhotos(truth=Truth.of(content), photos=photos, left_out={}, notes=())


def squares(seed: int, *, photos: int = 5) -> dict:
    """Return content whose objects are rectangles that no other shares a box with, of three sizes; the last photo has
    none."""
    draw = np.random.default_rng(seed)
    images = [{"id": 7 * n + 2, "file_name": f"{n}.jpg", "height": SIZE[0], "width": SIZE[1]} for n in range(photos)]
    annotations = []
    for image in images[:-1]:
        for side in (9, 40, 100)[: draw.integers(2, 4)]:
            top, left = draw.integers(0, 45, 2)
            mask = np.zeros(SIZE, bool)
            mask[top : top + side, left : left + side] = True
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image["id"],
                    "category_id": len(annotations) % 3 + 1,
                    "iscrowd": 0,
                    "area": float(mask.sum()),
                    "bbox": box_of(mask),
                    "segmentation": rle.encode(mask),
                }
            )
    return {"images": images, "annotations": annotations, "categories": [{"id": n, "name": f"{n}"} for n in (1, 2, 3)]}


class Knowing(Predictor):
    """Answers a box with the object that has it, as the second of three masks, which it trusts most; then alone.

    Logits carry where the mask begins, so that a refinement that was given another's is seen.
    """

    def __init__(self, content: dict):
        self.content, self.places, self.asked = content, [], []

    def set_images(self, images):
        self.places = [int(image[0, 0, 0]) for image in images]

    def predict_each(self, *, points=None, labels=None, boxes=None, mask_logits=None, multimask=True):
        del points, labels
        assert (mask_logits is None) is multimask
        answers = []
        for photo, of_photo in enumerate(boxes):
            self.asked.append((self.places[photo], len(of_photo), multimask))
            image = self.content["images"][self.places[photo]]["id"]
            masks = [self._mask(image, box) for box in of_photo]
            logits = np.array([np.full((2, 2), mask.argmax()) for mask in masks], np.float32)
            if not multimask:
                assert (np.asarray(mask_logits[photo]) == logits).all()
                masks = [np.roll(mask, 1, axis=1) for mask in masks]  # refined for the worse: told apart
            wrong = [~mask for mask in masks]
            kinds = [wrong, masks, wrong] if multimask else [masks]
            iou = [0.3, 0.8, 0.5] if multimask else [0.9]
            answers.append(
                Prediction(
                    masks=np.stack(kinds, axis=1),
                    iou=np.tile(np.float32(iou), (len(masks), 1)),
                    logits=np.stack([logits if kind is masks else -logits for kind in kinds], axis=1),
                )
            )
        return answers

    def _mask(self, image: int, box) -> np.ndarray:
        for one in self.content["annotations"]:
            x, y, width, height = one["bbox"]
            if one["image_id"] == image and np.allclose(box, (x, y, x + width, y + height)):
                return mask_of(one["segmentation"]["counts"])
        return np.zeros(SIZE, bool)


class Proposing(MaskGenerator):
    """Finds given masks on each photo."""

    def __init__(self, found: dict[int, list[GeneratedMask]], *, batch_size: int = 2):
        self.found, self.batch_size, self.seen = found, batch_size, []

    def generate(self, photos):
        self.seen += [int(photo[0, 0, 0]) for photo in photos]
        return [self.found[int(photo[0, 0, 0])] for photo in photos]


def generated(mask: np.ndarray, *, iou: float, stability: float) -> GeneratedMask:
    return GeneratedMask(
        segmentation=rle.encode(mask),
        area=int(mask.sum()),
        box=(0, 0, 0, 0),
        predicted_iou=iou,
        stability_score=stability,
        point=(0.0, 0.0),
        crop_box=(0, 0, SIZE[1], SIZE[0]),
    )


@contextlib.contextmanager
def killing(after: int | None):
    """A watch that ends the run once so many photos are done."""
    seen = 0

    def watch(done: int) -> None:
        nonlocal seen
        seen += done
        if after is not None and seen >= after:
            raise KilledError

    yield watch


def write_json(path, content) -> str:
    path.write_text(json.dumps(content))
    return str(path)
