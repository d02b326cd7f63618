"""A training step's rounds in PyTorch: two photos of a scene, their objects, the prompts that were played."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import transformers
from reference import SMALL, Case, channels_first, decode
from torch_losses import object_loss

from samjax.core.prompts import PointLabel, Prompts
from samjax.nn.pixels import PIXEL_MEAN, PIXEL_STD

IMAGES, MASKS = 2, 2
LOSS_SIZE = 64  # neither the ground truth's resolution nor the decoder's


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Two photos, the second one padded, with two objects each; the last slot is empty."""

    image: np.ndarray
    valid_size: np.ndarray
    masks: np.ndarray
    mask_valid: np.ndarray

    @classmethod
    def draw(cls, seed: int = 6) -> "Scene":
        """Return noise, and discs as objects."""
        generator = np.random.default_rng(seed)
        height, width = SMALL.image_size
        y, x = np.mgrid[:height, :width]
        centre = generator.uniform(20, 50, (IMAGES, MASKS, 2, 1, 1))
        masks = np.hypot(y - centre[:, :, 0], x - centre[:, :, 1]) < 17
        masks[1, 1] = False
        return cls(
            image=generator.integers(0, 256, (IMAGES, height, width, 3), dtype=np.uint8),
            valid_size=np.array([[height, width], [height, 70]], np.int32),
            masks=masks,
            mask_valid=np.array([[True, True], [True, False]]),
        )

    @property
    def inside(self) -> np.ndarray:
        """Which pixels are photo, not padding."""
        height, width = SMALL.image_size
        rows = np.arange(height)[:, None] < self.valid_size[:, 0, None, None]
        return rows & (np.arange(width)[None, :] < self.valid_size[:, 1, None, None])


def played(prompts: Prompts, image: int, mask: int, round_index: int) -> Case:
    """Return an object's points and box in a round: slots 0 and 1 from the start, slot 1 + r from round r on."""
    coords, labels, valid = (np.asarray(part[image, mask]) for part in (prompts.coords, prompts.labels, prompts.valid))
    there = valid & (np.arange(len(labels)) < 2 + round_index)
    point = there & np.isin(labels, [PointLabel.BACKGROUND, PointLabel.FOREGROUND])
    box = there & np.isin(labels, [PointLabel.BOX_MIN, PointLabel.BOX_MAX])
    return Case(
        points=coords[point][None, None] if point.any() else None,
        labels=labels[point][None, None] if point.any() else None,
        boxes=coords[box].reshape(1, 1, 4) if box.any() else None,
    )


def replay(
    model: transformers.SamModel,
    scene: Scene,
    prompts: Callable[[int, int, int], Case],
    *,
    rounds: int,
    carries_gradient: bool = True,
) -> torch.Tensor:
    """Return the loss of `rounds` rounds on `prompts(image, mask, round)`.

    Three candidates in the first round, the single mask after it; the logits of the mask with the highest estimated
    IoU are the next round's mask prompt.
    """
    pixels = (torch.as_tensor(scene.image).float() - torch.tensor(PIXEL_MEAN)) / torch.tensor(PIXEL_STD)
    pixels = pixels * torch.as_tensor(scene.inside)[..., None]
    embedding = model.vision_encoder(channels_first(pixels.numpy())).last_hidden_state
    total = torch.zeros(())
    for i, m in np.argwhere(scene.mask_valid):
        target, inside = _sampled(scene.masks[i, m]), _sampled(scene.inside[i])
        carried = None
        for round_index in range(rounds):
            case = replace(prompts(i, m, round_index), logits=carried)
            logits, iou = decode(model, embedding[i : i + 1], case, SMALL, multimask=round_index == 0)
            total = total + object_loss(logits[0], iou[0], target, inside).sum()
            carried = logits[:, :, iou[0, 0].argmax()]
            if not carries_gradient:
                carried = carried.detach()
    return total / scene.mask_valid.sum()


def _sampled(mask: np.ndarray) -> torch.Tensor:
    """Return [1 h w] at the loss resolution: the pixels under the centres of its cells."""
    rows, columns = ((2 * np.arange(LOSS_SIZE) + 1) * side // (2 * LOSS_SIZE) for side in mask.shape)
    return torch.as_tensor(mask[rows][:, columns][None]).float()
