"""The loss of sets against transformers' Mask2Former: both sides at the same points, and both match for themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from transformers import Mask2FormerConfig as TheirConfig
from transformers.models.mask2former import modeling_mask2former as their_module

from samjax.losses.set_loss import PointDraws, Segments, SetLossConfig, prediction_losses

CLASSES, QUERIES, WIDTH, GRID, FRAME = 4, 7, 6, (9, 12), (36, 48)
SLOTS = (5, 3)
"""Segments of each photo; the second has fewer than there are slots."""
CONFIG = SetLossConfig(points=64)


@pytest.fixture(scope="module")
def drawn():
    """Predictions, segments and points."""
    draw = np.random.default_rng(0)
    segment_map = draw.integers(-1, max(SLOTS), (2, FRAME[0] // 6, FRAME[1] // 6)).repeat(6, 1).repeat(6, 2)
    segment_map[1] = np.where(segment_map[1] < SLOTS[1], segment_map[1], -1)
    classes = draw.integers(0, CLASSES, (2, max(SLOTS)))
    classes[1, SLOTS[1] :] = -1
    return {
        "class_logits": draw.normal(size=(2, QUERIES, CLASSES + 1)).astype(np.float32),
        "embeddings": draw.normal(size=(2, QUERIES, WIDTH)).astype(np.float32),
        "mask_map": draw.normal(size=(2, *GRID, WIDTH)).astype(np.float32),
        "classes": classes.astype(np.int32),
        "map": segment_map.astype(np.int32),
        "matching": draw.uniform(size=(2, CONFIG.points, 2)).astype(np.float32),
        "candidates": draw.uniform(size=(CONFIG.candidates * CONFIG.points, 2)).astype(np.float32),
        "fresh": draw.uniform(size=(CONFIG.points - CONFIG.uncertain, 2)).astype(np.float32),
    }


@pytest.fixture
def theirs(drawn, monkeypatch):
    """Transformers' losses, and gradients of their weighted sum."""
    config = TheirConfig(num_labels=CLASSES, train_num_points=CONFIG.points)
    loss = their_module.Mask2FormerLoss(config, weight_dict={})
    of_matching = iter(drawn["matching"])

    def rand(*shape, device=None):
        if shape == (1, CONFIG.points, 2):
            return torch.from_numpy(next(of_matching))[None]
        known = drawn["candidates" if shape[1] == len(drawn["candidates"]) else "fresh"]
        return torch.from_numpy(known).expand(shape[0], -1, -1).contiguous()

    monkeypatch.setattr(torch, "rand", rand)
    given = [torch.tensor(drawn[name], requires_grad=True) for name in ("class_logits", "embeddings", "mask_map")]
    masks = torch.einsum("bqd,bhwd->bqhw", given[1], given[2])
    mask_labels = [
        torch.from_numpy(np.stack([drawn["map"][photo] == one for one in range(count)]).astype(np.float32))
        for photo, count in enumerate(SLOTS)
    ]
    class_labels = [torch.from_numpy(drawn["classes"][photo, :count]).long() for photo, count in enumerate(SLOTS)]
    found = loss(masks, given[0], mask_labels, class_labels)
    parts = {"class": found["loss_cross_entropy"], "mask": found["loss_mask"], "dice": found["loss_dice"]}
    (2 * parts["class"] + 5 * parts["mask"] + 5 * parts["dice"]).backward()
    return {name: part.item() for name, part in parts.items()}, [one.grad.numpy() for one in given]


def test_losses_and_gradients(drawn, theirs, agrees):
    segments = Segments(classes=jnp.asarray(drawn["classes"]), map=jnp.asarray(drawn["map"]))
    of_all = (2, max(SLOTS))
    draws = PointDraws(
        matching=jnp.asarray(drawn["matching"]),
        candidates=jnp.broadcast_to(drawn["candidates"], (*of_all, *drawn["candidates"].shape)),
        fresh=jnp.broadcast_to(drawn["fresh"], (*of_all, *drawn["fresh"].shape)),
    )

    @jax.jit
    def total(class_logits, embeddings, mask_map):
        parts = prediction_losses(class_logits, embeddings, mask_map, segments, draws, CONFIG)
        return 2 * parts["class"] + 5 * parts["mask"] + 5 * parts["dice"], parts

    given = [jnp.asarray(drawn[name]) for name in ("class_logits", "embeddings", "mask_map")]
    (_, parts), found = jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)(*given)
    for name, expected in theirs[0].items():
        agrees(f"set loss, {name}", parts[name], np.float32(expected), 1e-5)
    for name, our, their in zip(("classes", "embeddings", "map"), found, theirs[1], strict=True):
        agrees(f"set loss, gradient of {name}", our, their, 1e-5)
