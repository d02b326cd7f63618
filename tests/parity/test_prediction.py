"""The predictor against Hugging Face's processor and model: photos and prompts in, masks at the photos' sizes out."""

import dataclasses
import io

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from PIL import Image
from reference import SMALL, ours, reference
from transformers import SamProcessor
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from samjax.models.sam.sam import SamConfig
from samjax.nn.pixels import PIXEL_MEAN, PIXEL_STD, normalise
from samjax.predict.engine import Engine
from samjax.predict.promptable.photo_input import fit_photo
from samjax.predict.promptable.predictor import Predictor

SIZES = [(70, 96), (300, 200), (150, 41)]
"""Of photos: smaller, larger and thinner than the frame."""


def test_fifty_photos_lie_in_the_frame_as_the_processor_puts_them(jpegs):
    """To the last step of a uint8, upright and on their sides; then normalised."""
    processor = SamImageProcessorPil()
    for index, jpeg in enumerate(jpegs):
        photo = np.array(Image.open(io.BytesIO(jpeg)).convert("RGB"))
        photo = photo if index % 2 else photo.swapaxes(0, 1).copy()
        framed, (height, width) = fit_photo(photo, (1024, 1024))
        (expected,) = processor(Image.fromarray(photo), return_tensors="np")["pixel_values"]
        expected = np.moveaxis(expected, 0, -1)
        steps = np.round(expected * PIXEL_STD + PIXEL_MEAN)
        np.testing.assert_array_equal(framed[:height, :width], steps[:height, :width], err_msg=f"photo {index}")
        ours = np.asarray(normalise(jnp.asarray(framed[None]), jnp.array([[height, width]])))[0]
        np.testing.assert_allclose(ours, expected, atol=2e-6, err_msg=f"photo {index}")


class Pair:
    """Both predictors with the same weights, and photos."""

    def __init__(self, config: SamConfig, *, seed: int = 0):
        self.config = config
        self.theirs = reference(config, seed)
        self.ours = Predictor(Engine(ours(self.theirs, config), config))
        side = config.image_size[0]
        self.processor = SamProcessor(
            SamImageProcessorPil(size={"longest_edge": side}, pad_size={"height": side, "width": side})
        )
        draw = np.random.default_rng(seed)
        scale = side // 96
        self.photos = [draw.integers(0, 256, (h * scale, w * scale, 3), dtype=np.uint8) for h, w in SIZES]

    def prompts(self, kind: str, *, images: int, objects: int, seed: int = 0) -> list[dict]:
        """Return each photo's prompts, as `Predictor.predict` takes them."""
        draw, asked = np.random.default_rng(seed), []
        for photo in self.photos[:images]:
            size, prompts = np.array(photo.shape[1::-1]), {}
            if count := {"point": 1, "points": 3}.get(kind.split("+")[-1]):
                prompts["points"] = np.floor(draw.uniform(0, size, (objects, count, 2)))
                prompts["labels"] = draw.integers(0, 2, (objects, count))
            if "box" in kind:
                corners = np.sort(np.floor(draw.uniform(0, size, (objects, 2, 2))), axis=1)
                prompts["boxes"] = corners.reshape(objects, 4)
            if "mask" in kind:
                prompts["mask_logits"] = draw.normal(0, 4, (objects, *self.config.logits_size)).astype(np.float32)
            asked.append(prompts)
        return asked

    @torch.no_grad()
    def expected(self, photo: np.ndarray, prompts: dict, *, multimask: bool) -> tuple[np.ndarray, ...]:
        """Return logits, IoU and logits at the photo's size; a photo and an object at a time, as a plain user would."""
        found = []
        pixels = self.processor(photo, return_tensors="pt")["pixel_values"].float()
        embedding = self.theirs.get_image_embeddings(pixels)
        for m in range(len(next(iter(prompts.values())))):
            given = {
                "input_points": [[prompts["points"][m].tolist()]] if "points" in prompts else None,
                "input_labels": [[prompts["labels"][m].tolist()]] if "labels" in prompts else None,
                "input_boxes": [[prompts["boxes"][m].tolist()]] if "boxes" in prompts else None,
            }
            inputs = self.processor(photo, **given, return_tensors="pt")
            sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
            inputs = {name: part.float() if part.is_floating_point() else part for name, part in inputs.items()}
            if "mask_logits" in prompts:
                inputs["input_masks"] = torch.as_tensor(prompts["mask_logits"][m])[None, None]
            del inputs["pixel_values"]
            output = self.theirs(image_embeddings=embedding, **inputs, multimask_output=multimask)
            (large,) = self.processor.post_process_masks(output.pred_masks, *sizes, binarize=False)
            found.append((output.pred_masks[0, 0].numpy(), output.iou_scores[0, 0].numpy(), large[0].numpy()))
        return tuple(np.stack(parts) for parts in zip(*found, strict=True))

    def check(self, kind: str, *, images: int, objects: int, multimask: bool, agrees) -> None:
        asked = self.prompts(kind, images=images, objects=objects)
        self.ours.set_images(self.photos[:images])
        each = {name: [prompts[name] for prompts in asked] for name in asked[0]}
        for photo, prompts, answer in zip(
            self.photos, asked, self.ours.predict_each(**each, multimask=multimask), strict=False
        ):
            logits, iou, large = self.expected(photo, prompts, multimask=multimask)
            agrees("predictor, logits", answer.logits, logits, 1e-4)
            agrees("predictor, predicted IoU", answer.iou, iou, 1e-4)
            assert answer.masks.shape == large.shape
            differ = answer.masks != (large > 0)
            assert np.abs(large[differ]).max(initial=0) < 1e-4 * np.abs(large).max(), "only where rounding decides"
            assert differ.mean() < 1e-4


@pytest.fixture(scope="module")
def pair():
    return Pair(SMALL)


@pytest.mark.parametrize(
    ("kind", "images", "multimask"),
    [
        ("point", 1, True),
        ("points", 3, False),
        ("box", 3, True),
        ("box+points", 1, False),
        ("mask", 1, True),
        ("mask+point", 3, True),
    ],
)
def test_the_same_masks(kind, images, multimask, pair, agrees):
    pair.check(kind, images=images, objects=3, multimask=multimask, agrees=agrees)


@pytest.fixture(scope="module")
def vit_b():
    return Pair(dataclasses.replace(SamConfig.vit_b(), dtype="float32"))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "images", "objects"),
    [("points", 1, 64), ("mask+box", 1, 2), ("point", 3, 2), ("box", 3, 2), ("box+points", 3, 4)],
)
def test_the_same_masks_of_vit_b(kind, images, objects, vit_b, agrees):
    pair = vit_b
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    pair.check(kind, images=images, objects=objects, multimask=kind == "point", agrees=agrees)
    torch.set_num_threads(threads)
