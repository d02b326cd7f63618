"""Focal, dice and IoU: laws of their weights, and of logits at their extremes. tests/parity compares their values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.losses.dice import dice_loss
from samjax.losses.focal import focal_loss
from samjax.losses.iou import iou_loss, mask_iou

RNG = np.random.default_rng(0)
LOGITS = (4 * RNG.normal(size=(2, 3, 9, 11))).astype(np.float32)
TARGET = jnp.asarray(RNG.random((2, 3, 9, 11)) < 0.4)
EVERYWHERE = jnp.ones((2, 1, 9, 11), bool)
INSIDE = jnp.zeros((2, 1, 9, 11), bool).at[0, :, :7, :5].set(True).at[1, :, :9, :8].set(True)


def test_iou_counts_pixels():
    mask = LOGITS > 0
    target = np.asarray(TARGET)
    expected = (mask & target).sum((-1, -2)) / (mask | target).sum((-1, -2))
    np.testing.assert_allclose(mask_iou(jnp.asarray(LOGITS), TARGET, EVERYWHERE), expected, rtol=1e-6)
    assert mask_iou(jnp.zeros((4, 4)), jnp.zeros((4, 4), bool), jnp.ones((4, 4), bool)) == 0, "empty: 0 of at least 1"
    assert mask_iou(jnp.zeros((4, 4)), jnp.ones((4, 4), bool), jnp.ones((4, 4), bool)) == 0, "a logit of 0 is outside"


def test_iou_loss_is_a_squared_error_that_only_moves_the_prediction():
    predicted, true = jnp.array([0.2, 0.9]), jnp.array([0.5, 0.9])
    np.testing.assert_allclose(iou_loss(predicted, true), [0.09, 0], atol=1e-7)
    to_predicted, to_true = jax.grad(lambda *ious: iou_loss(*ious).sum(), argnums=(0, 1))(predicted, true)
    np.testing.assert_allclose(to_predicted, [-0.6, 0], atol=1e-6)
    assert not to_true.any()


@pytest.mark.parametrize("term", [focal_loss, dice_loss, mask_iou])
def test_padding_counts_for_nothing(term):
    """The value is that of the photo's pixels alone, and padding gets no gradient, whatever it holds."""
    logits, target = LOGITS.copy(), np.array(TARGET)
    outside = np.broadcast_to(~INSIDE, logits.shape)
    logits[outside], target[outside] = 1e4, False
    logits, target = jnp.asarray(logits), jnp.asarray(target)
    value = term(logits, target, INSIDE)
    for image, (height, width) in enumerate([(7, 5), (9, 8)]):
        cropped = np.s_[image : image + 1, :, :height, :width]
        alone = term(jnp.asarray(LOGITS[cropped]), TARGET[cropped], INSIDE[cropped])
        np.testing.assert_allclose(value[image], alone[0], rtol=1e-6)
    gradient = jax.grad(lambda x: term(x, target, INSIDE).sum())(logits)
    assert not np.asarray(gradient)[outside].any()
    assert np.asarray(gradient)[~outside].any() or term is mask_iou


@pytest.mark.parametrize("term", [focal_loss, dice_loss, mask_iou])
def test_no_valid_pixel_is_no_nan(term):
    nowhere = jnp.zeros((2, 1, 9, 11), bool)
    value, gradient = jax.value_and_grad(lambda x: term(x, TARGET, nowhere).sum())(jnp.asarray(LOGITS))
    assert np.isfinite(value)
    assert not gradient.any()


@pytest.mark.parametrize("gamma", [2.0, 0.5])
@pytest.mark.parametrize("logit", [-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4])
def test_extreme_logits_stay_finite_and_exact(logit, gamma):
    pixel = jnp.ones((1, 1), bool)
    for target in (pixel, ~pixel):
        value, gradient = jax.value_and_grad(lambda x, t=target: focal_loss(x, t, pixel, gamma=gamma))(
            jnp.full((1, 1), logit)
        )
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
        wrong = -logit if target else logit  # the miss is sigmoid(wrong), the cross entropy log(1 + exp(wrong))
        cross_entropy = np.logaddexp(0, wrong)
        expected = (0.25 if target else 0.75) * np.exp(wrong - cross_entropy) ** gamma * cross_entropy
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-30)


@pytest.mark.parametrize("term", [focal_loss, dice_loss, mask_iou])
def test_terms_are_float32_whatever_the_logits(term):
    half = jnp.asarray(LOGITS, jnp.bfloat16)
    value = term(half, TARGET, EVERYWHERE)
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(value, term(half.astype(jnp.float32), TARGET, EVERYWHERE))
