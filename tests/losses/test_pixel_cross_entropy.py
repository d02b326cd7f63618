"""Cross-entropy over pixels against a plain restatement: ignored pixels, class weights, hard examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.errors import UserError
from samjax.losses.pixel_cross_entropy import PixelLossConfig, pixel_cross_entropy

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


@jax.jit
def _mean(logits, labels, counted):
    return pixel_cross_entropy(logits, labels, counted, PixelLossConfig())


def test_the_mean_is_over_the_pixels_that_count(pixels):
    assert float(_mean(*pixels)) == pytest.approx(plain(*pixels).mean(), rel=1e-6)


def test_nothing_that_counts_is_no_loss_and_has_no_gradient(pixels):
    logits, labels, counted = pixels
    loss, slope = jax.value_and_grad(_mean)(logits, labels, jnp.zeros_like(counted))
    assert loss == 0
    assert not np.asarray(slope).any()


def test_class_weights_divide_by_the_weights_of_the_targets(pixels):
    weights = (0.5, 2.0, 0.0)
    found = pixel_cross_entropy(*pixels, PixelLossConfig(class_weights=weights))
    own = np.array(weights)[np.asarray(pixels[1])[np.asarray(pixels[2])]]
    assert float(found) == pytest.approx((plain(*pixels) * own).sum() / own.sum(), rel=1e-6)


@pytest.mark.parametrize(("threshold", "least"), [(0.4, 1), (0.01, 20), (0.9, 10**6), (0.4, 0)])
def test_hard_examples_are_those_below_the_threshold_and_never_fewer_than_asked(pixels, threshold, least):
    found = pixel_cross_entropy(*pixels, PixelLossConfig(hard_threshold=threshold, least_hard=least))
    losses = np.sort(plain(*pixels))[::-1]
    hard = max(int((losses >= -np.log(threshold)).sum()), min(least, len(losses)))
    assert float(found) == pytest.approx(losses[:hard].mean(), rel=1e-5)


def test_weights_of_other_classes_are_refused():
    with pytest.raises(UserError, match="has 2 numbers, but the model has 3 classes"):
        PixelLossConfig(class_weights=(1.0, 1.0)).check_classes(3)
    with pytest.raises(UserError, match="are all 0"):
        PixelLossConfig(class_weights=(0.0, 0.0)).check_classes(2)
