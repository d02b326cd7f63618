"""Loss terms, a round's loss and a whole step's loss, with gradients, against the same written in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.nn import functional
from torch_losses import mask_terms, object_loss

from samjax.core.prompts import MaskOutput
from samjax.losses.dice import dice_loss
from samjax.losses.focal import focal_loss
from samjax.losses.sam_loss import LossConfig, round_loss, sam_loss

RNG = np.random.default_rng(0)
LOGITS = (4 * RNG.normal(size=(2, 3, 9, 11))).astype(np.float32)
TARGET = RNG.random((2, 3, 9, 11)) < 0.4


def check_term(ours, index, options):
    """Compare a term of LOGITS and its gradient with `mask_terms`, in float64."""
    target, everywhere = jnp.asarray(TARGET), jnp.ones((2, 1, 9, 11), bool)
    logits = torch.tensor(LOGITS, dtype=torch.float64, requires_grad=True)
    pixels = torch.tensor(TARGET).double().flatten(0, 1)
    expected = mask_terms(logits.reshape(6, 1, 9, 11), pixels, torch.ones_like(pixels), **options)[index].reshape(2, 3)
    expected.sum().backward()
    np.testing.assert_allclose(ours(jnp.asarray(LOGITS), target, everywhere, **options), expected.detach(), rtol=2e-6)
    gradient = jax.grad(lambda x: ours(x, target, everywhere, **options).sum())(jnp.asarray(LOGITS))
    np.testing.assert_allclose(gradient, logits.grad, rtol=2e-5, atol=1e-8)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 0.0), (0.9, 0.5)])
def test_focal_is_torchs(alpha, gamma):
    check_term(focal_loss, 0, {"alpha": alpha, "gamma": gamma})


@pytest.mark.parametrize("smoothing", [1.0, 0.1])
def test_dice_is_torchs(smoothing):
    check_term(dice_loss, 1, {"smoothing": smoothing})


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


@pytest.mark.parametrize(
    "config",
    [
        LossConfig(loss_size=16),
        LossConfig(loss_size=16, focal_weight=1.0, dice_weight=5.0, iou_weight=0.3, focal_alpha=0.6),
    ],
)
def test_loss_and_gradients_are_torchs(config):
    """Of three rounds, in float64: one photo padded, and slots without a mask."""
    generator = np.random.default_rng(0)
    target = generator.random((2, 3, 16, 16)) < 0.4
    pixels = np.ones((2, 16, 16), bool)
    pixels[1, 12:] = False
    mask_valid = np.array([[True, True, False], [True, False, False]])
    rounds = [
        MaskOutput(
            logits=jnp.asarray(3 * generator.normal(size=(2, 3, k, 8, 8)), jnp.float32),
            iou=jnp.asarray(generator.random((2, 3, k)), jnp.float32),
        )
        for k in (3, 1, 1)
    ]

    def whole(rounds):
        losses = [round_loss(output, jnp.asarray(target), jnp.asarray(pixels), config) for output in rounds]
        return sam_loss(jax.tree.map(lambda *terms: jnp.stack(terms), *losses), jnp.asarray(mask_valid), config)

    leaves, total = [], 0.0
    images, _ = np.nonzero(mask_valid)
    their_target, inside = (torch.tensor(part).double() for part in (target[mask_valid], pixels[images]))
    for output in rounds:
        logits, iou = (torch.tensor(np.asarray(part)).double() for part in (output.logits, output.iou))
        leaves += [logits.requires_grad_(), iou.requires_grad_()]
        loss = object_loss(
            logits[mask_valid],
            iou[mask_valid],
            their_target,
            inside,
            focal_weight=config.focal_weight,
            dice_weight=config.dice_weight,
            iou_weight=config.iou_weight,
            alpha=config.focal_alpha,
        )
        total = total + loss.sum() / mask_valid.sum()
    total.backward()
    last = functional.interpolate(logits[mask_valid], (16, 16), mode="bilinear", align_corners=False)
    *_, iou = mask_terms(last, their_target, inside)

    (loss, metrics), gradients = jax.value_and_grad(whole, has_aux=True)(rounds)
    np.testing.assert_allclose(loss, total.item(), rtol=1e-5)
    np.testing.assert_allclose(metrics["miou"], iou.mean().item(), rtol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(gradients), leaves, strict=True):
        np.testing.assert_allclose(ours, theirs.grad, rtol=1e-4, atol=1e-7)
