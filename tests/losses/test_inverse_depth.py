"""The loss of relative depth, against its words in float64 NumPy, and its laws."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.losses.inverse_depth import DepthLossConfig, depth_loss, trimmed_error

CONFIG = DepthLossConfig()
DRAW = np.random.default_rng(0)
PREDICTION, TARGET = (DRAW.random((3, 13, 18)) for _ in range(2))
VALID = DRAW.random((3, 13, 18)) < 0.7
loss = jax.jit(lambda *maps, config=CONFIG: depth_loss(*maps, config), static_argnames="config")
value_and_gradient = jax.jit(jax.value_and_grad(lambda *maps: depth_loss(*maps, CONFIG)[0]))


def value(prediction, target=TARGET, valid=VALID, config=CONFIG) -> float:
    """Return the loss."""
    return float(loss(jnp.asarray(prediction, jnp.float32), jnp.asarray(target, jnp.float32), valid, config=config)[0])


def gradient_of(prediction, target, valid):
    """Return the loss, and its gradient by the prediction."""
    maps = (jnp.asarray(one, jnp.float32) for one in (prediction, target))
    return value_and_gradient(*maps, jnp.asarray(valid))


def in_words(prediction, target, valid, *, trim, edge_weight, scales) -> float:
    """Return the same, pixel by pixel."""
    losses = []
    for maps in zip(prediction, target, valid, strict=True):
        known = maps[2]
        aligned = []
        for one in maps[:2]:
            inside = np.sort(one[known])
            shifted = one - inside[(len(inside) - 1) // 2]
            aligned.append(shifted / np.abs(shifted[known]).mean())
        error = aligned[0] - aligned[1]
        errors = np.sort(np.abs(error[known]))
        trimmed = errors[: int(len(errors) * (1 - trim))].sum() / (2 * len(errors))
        edges = 0.0
        for step in (2**scale for scale in range(scales)):
            part, here = error[::step, ::step], known[::step, ::step]
            pairs = [((r, c), (r, c + 1)) for r in range(part.shape[0]) for c in range(part.shape[1] - 1)]
            pairs += [((r, c), (r + 1, c)) for r in range(part.shape[0] - 1) for c in range(part.shape[1])]
            edges += sum(abs(part[a] - part[b]) for a, b in pairs if here[a] and here[b]) / here.sum()
        losses.append(trimmed + edge_weight * edges)
    return float(np.mean(losses))


@pytest.mark.parametrize("sizes", [{}, {"trim": 0.0, "edge_weight": 0.3, "scales": 1}, {"trim": 0.35, "scales": 2}])
def test_value(sizes):
    config = DepthLossConfig(**sizes)
    words = {name: getattr(config, name) for name in ("trim", "edge_weight", "scales")}
    expected = in_words(PREDICTION, TARGET, VALID, **words)
    np.testing.assert_allclose(value(PREDICTION, config=config), expected, rtol=1e-5)


def test_the_number_optimised_is_the_sum_of_its_terms():
    found, metrics = loss(jnp.asarray(PREDICTION), jnp.asarray(TARGET), VALID)
    assert found == metrics["loss"]
    np.testing.assert_allclose(found, metrics["trimmed"] + 0.5 * metrics["edges"], rtol=1e-6)


def test_scale_and_shift_count_for_nothing():
    """Of either map, photo by photo; but a negative scale turns near into far."""
    scale, shift = np.array([0.01, 3.0, 500.0])[:, None, None], np.array([-7.0, 0.0, 100.0])[:, None, None]
    np.testing.assert_allclose(value(scale * PREDICTION + shift), value(PREDICTION), rtol=1e-3)
    np.testing.assert_allclose(value(PREDICTION, scale * TARGET + shift), value(PREDICTION), rtol=1e-3)
    assert value(scale * TARGET + shift) < 1e-3 * value(PREDICTION)
    assert value(-TARGET) > 0.5


def test_the_largest_errors_are_trimmed():
    """A fifth of each photo's known pixels may be wrong however much, and one more may not."""
    trimmed = jax.jit(functools.partial(trimmed_error, trim=0.2))
    error = DRAW.normal(size=(2, 5, 11)).astype(np.float32)
    known = np.ones(error.shape, bool)
    known[1, 0] = False
    for photo, pixels in enumerate((55, 44)):
        order = np.argsort(np.where(known[photo], np.abs(error[photo]), -1).ravel())
        worst = pixels - math.floor(0.8 * pixels)
        for count, same in ((worst, True), (worst + 1, False)):
            worse = error.copy()
            worse[photo].flat[order[-count:]] *= 1e3
            found, expected = (float(trimmed(jnp.asarray(one), jnp.asarray(known))[photo]) for one in (worse, error))
            assert math.isclose(found, expected, rel_tol=1e-6) is same


def test_unknown_pixels_count_for_nothing():
    """Neither do photos without a known one; they get no gradient, whatever they hold."""
    expected = value(PREDICTION[:2], TARGET[:2], VALID[:2])
    valid = VALID.copy()
    valid[2] = False
    prediction, target = (np.where(valid, maps, np.nan) for maps in (PREDICTION, TARGET))
    np.testing.assert_allclose(value(prediction, target, valid), expected, rtol=1e-6)
    gradient = gradient_of(prediction, target, valid)[1]
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[~valid].any()
    assert np.asarray(gradient)[:2].any()
    assert value(prediction, target, np.zeros_like(valid)) == 0


@pytest.mark.parametrize("which", ["prediction", "target"])
def test_a_constant_map_has_a_finite_gradient(which):
    """A model may begin with one, and a photo of a wall has one."""
    maps = {"prediction": PREDICTION, "target": TARGET} | {which: np.full((3, 13, 18), 0.7)}
    found, gradient = gradient_of(maps["prediction"], maps["target"], VALID)
    assert np.isfinite(found)
    assert np.isfinite(gradient).all()
    assert np.asarray(gradient).any()
