"""A round's loss against the same written in PyTorch, at resolutions above and below the decoder's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional
from torch_losses import mask_terms, object_loss

from samjax.core.types import MaskOutput
from samjax.losses.sam import LossConfig, round_loss


@pytest.mark.parametrize("size", [(48, 48), (96, 96), (20, 32), (31, 48)], ids=str)
@pytest.mark.parametrize("masks", [1, 3])
def test_round_loss(size, masks, agrees):
    """Bilinear without antialiasing, also where it shrinks."""
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (2, 2, masks, 48, 48)).astype(np.float32)
    iou = generator.uniform(0, 1, (2, 2, masks)).astype(np.float32)
    target = generator.random((2, 2, *size)) < 0.3
    inside = np.ones((2, *size), bool)
    inside[1, :, -9:] = False

    output = MaskOutput(logits=jnp.asarray(logits), iou=jnp.asarray(iou))
    config = LossConfig()
    terms = jax.jit(lambda output: round_loss(output, jnp.asarray(target), jnp.asarray(inside), config))(output)

    flat = torch.as_tensor(logits).flatten(0, 1)
    their_target = torch.as_tensor(target).flatten(0, 1).float()
    their_inside = torch.as_tensor(inside).float().repeat_interleave(2, 0)
    resized = functional.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    focal, dice, true_iou = mask_terms(resized, their_target, their_inside)
    best = (20 * focal + dice).argmin(1, keepdim=True)
    for name, ours, theirs in [("focal", terms.focal, focal), ("dice", terms.dice, dice), ("IoU", terms.iou, true_iou)]:
        agrees(f"{name} of a round", ours.reshape(-1), theirs.gather(1, best)[:, 0])
    whole = 20 * terms.focal + terms.dice + terms.iou_mse
    expected = object_loss(flat, torch.as_tensor(iou).flatten(0, 1), their_target, their_inside)
    agrees("loss of a round", whole.reshape(-1), expected)
