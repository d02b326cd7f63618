"""The loss of an interaction: which mask learns, and what it is divided by."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.errors import UserError
from samjax.core.prompts import MaskOutput
from samjax.losses.sam_loss import (
    Candidates,
    LossConfig,
    loss_pixels,
    loss_resolution,
    loss_target,
    round_loss,
    sam_loss,
)

CONFIG = LossConfig(loss_size=16)
RNG = np.random.default_rng(0)
TARGET = RNG.random((2, 3, 16, 16)) < 0.4
PIXELS = np.ones((2, 16, 16), bool)
PIXELS[1, 12:] = False
MASK_VALID = np.array([[True, True, False], [True, False, False]])


def outputs(tokens=(3, 1, 1), size=8, seed=0):
    """Return one random output a round, with that many masks."""
    rng = np.random.default_rng(seed)
    return [
        MaskOutput(
            logits=jnp.asarray(3 * rng.normal(size=(2, 3, k, size, size)), jnp.float32),
            iou=jnp.asarray(rng.random((2, 3, k)), jnp.float32),
        )
        for k in tokens
    ]


def whole(rounds, mask_valid=MASK_VALID, config=CONFIG):
    """Return loss and metrics of outputs, round by round."""
    losses = [round_loss(output, jnp.asarray(TARGET), jnp.asarray(PIXELS), config) for output in rounds]
    return sam_loss(jax.tree.map(lambda *terms: jnp.stack(terms), *losses), jnp.asarray(mask_valid), config)


def test_only_the_best_candidate_learns_and_only_its_iou():
    (output,) = outputs(tokens=(3,))
    best = 1
    good = jax.image.resize(jnp.where(TARGET, 1.0, -1.0), (2, 3, 8, 8), "bilinear")
    logits = output.logits.at[:, :, best].set(good)
    output = MaskOutput(logits=logits, iou=output.iou)
    gradient = jax.grad(lambda output: whole([output])[0])(output)
    for k in range(3):
        learns = k == best
        assert bool((gradient.logits[:, :, k][MASK_VALID] != 0).any()) == learns
        assert (np.asarray(gradient.iou[:, :, k][MASK_VALID] != 0) == learns).all()


def test_every_candidates_iou_can_learn_where_one_mask_does():
    (output,) = outputs(tokens=(3,))
    every = dataclasses.replace(CONFIG, iou_of=Candidates.EVERY)
    gradients = [jax.grad(lambda output, c=c: whole([output], config=c)[0])(output) for c in (CONFIG, every)]
    np.testing.assert_array_equal(gradients[0].logits, gradients[1].logits)
    assert (np.asarray(gradients[1].iou)[MASK_VALID] != 0).all()
    best = round_loss(output, jnp.asarray(TARGET), jnp.asarray(PIXELS), every)
    np.testing.assert_allclose(best.iou_mse, np.mean([one.iou_mse for one in each_alone(output)], axis=0), rtol=1e-6)


def each_alone(output):
    """Return the loss of each candidate as the only one."""
    parts = [MaskOutput(logits=output.logits[:, :, k : k + 1], iou=output.iou[:, :, k : k + 1]) for k in range(3)]
    return [round_loss(part, jnp.asarray(TARGET), jnp.asarray(PIXELS), CONFIG) for part in parts]


def test_every_candidates_mask_can_learn_while_the_best_is_scored():
    (output,) = outputs(tokens=(3,))
    every = dataclasses.replace(CONFIG, masks_of=Candidates.EVERY)
    gradient = jax.grad(lambda output: whole([output], config=every)[0])(output)
    assert (np.abs(gradient.logits).sum((-2, -1))[MASK_VALID] > 0).all()
    found, best = (round_loss(output, jnp.asarray(TARGET), jnp.asarray(PIXELS), config) for config in (every, CONFIG))
    alone = each_alone(output)
    for name in ("focal", "dice"):
        mean = np.mean([getattr(one, name) for one in alone], axis=0)
        np.testing.assert_allclose(getattr(found, name), mean, rtol=1e-6)
    for name in ("iou", "iou_mse"):
        np.testing.assert_array_equal(getattr(found, name), getattr(best, name))


def test_slots_that_are_not_valid_count_for_nothing_even_when_nan():
    clean = outputs()
    value, metrics = whole(clean)
    broken = [
        MaskOutput(
            logits=jnp.where(MASK_VALID[:, :, None, None, None], output.logits, jnp.nan),
            iou=jnp.where(MASK_VALID[:, :, None], output.iou, jnp.nan),
        )
        for output in clean
    ]
    broken_value, broken_metrics = whole(broken)
    assert value == broken_value
    assert metrics == broken_metrics
    gradients = jax.grad(lambda rounds: whole(rounds)[0])(clean)
    assert not any(np.asarray(leaf)[~MASK_VALID].any() for leaf in jax.tree.leaves(gradients))


def test_a_batch_without_masks_loses_nothing():
    (loss, metrics), gradients = jax.value_and_grad(whole, has_aux=True)(outputs(), mask_valid=np.zeros((2, 3), bool))
    assert loss == 0
    assert all(value == 0 for value in metrics.values())
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradients))


def test_metrics_add_up_to_the_loss():
    config = dataclasses.replace(CONFIG, focal_weight=3.0, dice_weight=2.0, iou_weight=0.5)
    loss, metrics = whole(outputs(), config=config)
    assert metrics["loss"] == loss
    weighted = 3.0 * metrics["focal"] + 2.0 * metrics["dice"] + 0.5 * metrics["iou_mse"]
    np.testing.assert_allclose(loss, 3 * weighted, rtol=1e-6)
    assert 0 < metrics["dice"] < 1


def test_the_loss_sums_over_rounds_and_averages_over_masks():
    rounds = outputs()
    together = whole(rounds)[0]
    np.testing.assert_allclose(together, sum(whole([output])[0] for output in rounds), rtol=1e-6)
    alone = []
    for index in np.argwhere(MASK_VALID):
        only = np.zeros_like(MASK_VALID)
        only[tuple(index)] = True
        alone.append(whole(rounds, mask_valid=only)[0])
    np.testing.assert_allclose(together, np.mean(alone), rtol=1e-6)


def test_masks_are_counted_over_all_devices():
    """A mean of per-device means would weigh the masks of photos with few of them more."""
    rng = np.random.default_rng(0)
    masks = jnp.asarray(rng.random((8, 4, 16, 16)) < 0.5)
    mask_valid = jnp.asarray(np.arange(4) < np.arange(1, 9)[:, None] % 4)
    logits = jnp.asarray(rng.normal(size=(8, 4, 3, 16, 16)), jnp.float32)

    @jax.jit
    @jax.value_and_grad
    def step(logits, masks, mask_valid):
        output = MaskOutput(logits=logits, iou=jnp.zeros(logits.shape[:3]))
        loss = round_loss(output, masks, jnp.ones((8, 16, 16), bool), CONFIG)
        return sam_loss(jax.tree.map(lambda term: term[None], loss), mask_valid, CONFIG)[0]

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    arguments = (logits, masks, mask_valid)
    for alone, spread in zip(step(*arguments), step(*jax.device_put(arguments, rows)), strict=True):
        np.testing.assert_allclose(alone, spread, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    ("image_size", "loss_size", "expected"),
    [
        ((1024, 1024), 256, (256, 256)),
        ((1024, 768), 256, (256, 192)),
        ((768, 1024), 2048, (768, 1024)),
        ((256, 256), 256, (256, 256)),
        ((64, 48), 30, (30, 22)),
    ],
)
def test_loss_resolution(image_size, loss_size, expected):
    assert loss_resolution(image_size, loss_size) == expected


@pytest.mark.parametrize("loss_size", [8, 16, 30, 64, 256])
def test_target_is_the_pixel_under_each_centre(loss_size):
    masks = np.random.default_rng(0).random((2, 3, 64, 48)) < 0.5
    height, width = loss_resolution((64, 48), loss_size)
    rows = np.floor((np.arange(height) + 0.5) * 64 / height).astype(int)
    columns = np.floor((np.arange(width) + 0.5) * 48 / width).astype(int)
    np.testing.assert_array_equal(loss_target(jnp.asarray(masks), loss_size), masks[:, :, rows][..., columns])


@pytest.mark.parametrize("loss_size", [8, 16, 30, 64])
def test_loss_pixels_are_the_photo_seen_as_a_target(loss_size):
    sizes = np.array([[64, 48], [33, 48], [64, 7], [1, 1]])
    photo = (np.arange(64)[:, None] < sizes[:, 0, None, None]) & (np.arange(48) < sizes[:, 1, None, None])
    expected = loss_target(jnp.asarray(photo[:, None]), loss_size)[:, 0]
    pixels = loss_pixels(jnp.asarray(sizes), image_size=(64, 48), loss_size=loss_size)
    np.testing.assert_array_equal(pixels, expected)


def test_everything_is_float32_from_bfloat16_logits():
    rounds = [
        MaskOutput(logits=o.logits.astype(jnp.bfloat16), iou=o.iou.astype(jnp.bfloat16)) for o in outputs(size=16)
    ]
    loss, metrics = whole(rounds)
    exact = [MaskOutput(logits=o.logits.astype(jnp.float32), iou=o.iou.astype(jnp.float32)) for o in rounds]
    assert loss.dtype == jnp.float32
    assert loss == whole(exact)[0]
    assert all(value.dtype == jnp.float32 for value in metrics.values())


def test_a_loss_without_pixels_is_an_error():
    with pytest.raises(UserError, match="loss_size is 0"):
        LossConfig(loss_size=0)
