"""Cross-entropy over pixels against a plain restatement: ignored pixels, class weights, hard examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.errors import UserError
from samjax.losses.pixel_cross_entropy import (
    PixelLossConfig,
    enlarged_pixel_losses,
    mean_pixel_loss,
    pixel_losses,
)
from samjax.nn.interpolate import Method, matrix

CLASSES = 3


@pytest.fixture(scope="module")
def pixels():
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(2, 5, 7, CLASSES)).astype(np.float32)
    labels = draw.integers(-1, CLASSES, (2, 5, 7)).astype(np.int16)
    return jnp.asarray(logits), jnp.asarray(labels), jnp.asarray(labels >= 0)


def plain(logits, labels, counted) -> np.ndarray:
    """Return the cross-entropy of each pixel that counts, in float64, in a row."""
    logits = np.asarray(logits, np.float64)[np.asarray(counted)]
    own = logits[np.arange(len(logits)), np.asarray(labels)[np.asarray(counted)]]
    return np.log(np.exp(logits).sum(-1)) - own


def mean_loss(logits, labels, counted, config):
    return mean_pixel_loss(pixel_losses(logits, labels, counted), labels, counted, config)


@jax.jit
def _mean(logits, labels, counted):
    return mean_loss(logits, labels, counted, PixelLossConfig())


def test_the_mean_is_over_the_pixels_that_count(pixels):
    assert float(_mean(*pixels)) == pytest.approx(plain(*pixels).mean(), rel=1e-6)


def test_nothing_that_counts_is_no_loss_and_has_no_gradient(pixels):
    logits, labels, counted = pixels
    loss, slope = jax.value_and_grad(_mean)(logits, labels, jnp.zeros_like(counted))
    assert loss == 0
    assert not np.asarray(slope).any()


def test_class_weights_divide_by_the_weights_of_the_targets(pixels):
    weights = (0.5, 2.0, 0.0)
    found = mean_loss(*pixels, PixelLossConfig(class_weights=weights))
    own = np.array(weights)[np.asarray(pixels[1])[np.asarray(pixels[2])]]
    assert float(found) == pytest.approx((plain(*pixels) * own).sum() / own.sum(), rel=1e-6)


@pytest.mark.parametrize(("threshold", "least"), [(0.4, 1), (0.01, 20), (0.9, 10**6), (0.4, 0)])
def test_hard_examples_are_those_below_the_threshold_and_never_fewer_than_asked(pixels, threshold, least):
    found = mean_loss(*pixels, PixelLossConfig(hard_threshold=threshold, least_hard=least))
    losses = np.sort(plain(*pixels))[::-1]
    hard = max(int((losses >= -np.log(threshold)).sum()), min(least, len(losses)))
    assert float(found) == pytest.approx(losses[:hard].mean(), rel=1e-5)


def test_weights_of_other_classes_are_refused():
    with pytest.raises(UserError, match="has 2 numbers, but the model has 3 classes"):
        PixelLossConfig(class_weights=(1.0, 1.0)).check_classes(3)
    with pytest.raises(UserError, match="are all 0"):
        PixelLossConfig(class_weights=(0.0, 0.0)).check_classes(2)


@pytest.mark.parametrize("kind", ["dense", "bilinear"])
@pytest.mark.parametrize("size", [(5, 7), (19, 12), (32, 40)])
def test_logits_that_are_enlarged_block_by_block_lose_what_whole_ones_lose(pixels, size, kind):
    """And so do their gradients; the last block may be short."""
    draw = np.random.default_rng(1)
    logits, labels = pixels[0], jnp.asarray(draw.integers(-1, CLASSES, (2, *size)), jnp.int16)
    rows, columns = (
        (matrix(old, new, method=Method.BILINEAR) if kind == "bilinear" else draw.uniform(size=(new, old))).astype("f4")
        for new, old in zip(size, (5, 7), strict=True)
    )
    slope = jnp.asarray(draw.normal(size=labels.shape), jnp.float32)

    def whole(logits):
        return pixel_losses(jnp.einsum("rh,bhvc,wv->brwc", rows, logits, columns), labels, labels >= 0)

    def in_blocks(logits):
        return enlarged_pixel_losses(logits, labels, labels >= 0, rows=rows, columns=columns)

    (expected, pull), (found, own_pull) = (jax.vjp(jax.jit(one), logits) for one in (whole, in_blocks))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(own_pull(slope)[0], pull(slope)[0], rtol=1e-4, atol=1e-4)
