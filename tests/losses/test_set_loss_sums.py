"""The loss of sets: slots that are empty, photos without segments, a part of a batch, queries that are right."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.losses.set_loss import Segments, SetLossConfig, draw_points, prediction_losses, set_loss

CONFIG = SetLossConfig(points=256)


@functools.partial(jax.jit, static_argnames="slots")
def losses(class_logits, embeddings, mask_map, segments, *, slots):
    draws = draw_points(jax.random.key(0), class_logits.shape[0], slots, CONFIG)
    return prediction_losses(class_logits, embeddings, mask_map, segments, draws, CONFIG)


total = jax.jit(functools.partial(set_loss, config=CONFIG))


def squares(classes) -> Segments:
    """Return photos of 16 pixels whose segments are its columns of four."""
    columns = np.broadcast_to(np.arange(16) // 4, (len(classes), 16, 16))
    classes = np.asarray(classes)
    there = np.take_along_axis(classes, columns.reshape(len(classes), -1), axis=1).reshape(columns.shape)
    return Segments(classes=jnp.asarray(classes), map=jnp.asarray(np.where(there >= 0, columns, -1)))


def perfect(segments: Segments, sharpness: float):
    """Return queries that say what there is, the last segment first."""
    classes = np.asarray(segments.classes)[:, ::-1]
    one_hot = np.eye(4, dtype=np.float32)[np.where(classes < 0, 3, classes)]
    own = np.arange(4)[::-1]
    mask_map = np.where(np.asarray(segments.map)[..., None] == np.arange(4), 1.0, -1.0).astype(np.float32)
    embeddings = np.broadcast_to(np.eye(4, dtype=np.float32)[own], (len(classes), 4, 4))
    return jnp.asarray(sharpness * one_hot), jnp.asarray(sharpness * embeddings), jnp.asarray(mask_map)


def test_queries_that_say_what_there_is_lose_little_in_whatever_order():
    segments = squares([[0, 1, 2, 0], [2, -1, 1, -1]])
    parts = losses(*perfect(segments, 30.0), segments, slots=4)
    assert float(parts["class"]) < 1e-6
    # At the edges a label is a fraction and a logit is small; most points are chosen there.
    assert float(parts["dice"]) < 0.35
    wrong = losses(*perfect(squares([[2, 2, 1, 1], [0, 0, 0, 0]]), 30.0), segments, slots=4)
    assert float(wrong["class"]) > 5


def test_empty_slots_change_nothing():
    short, long = squares([[0, 1, 2, 0]]), squares([[0, 1, 2, 0]])
    long = Segments(classes=jnp.pad(long.classes, ((0, 0), (0, 3)), constant_values=-1), map=long.map)
    said = (
        jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 4)), jnp.float32),
        jnp.asarray(np.random.default_rng(1).normal(size=(1, 8, 4)), jnp.float32),
        perfect(short, 1.0)[2],
    )
    found = [losses(*said, segments, slots=segments.classes.shape[1]) for segments in (short, long)]
    for name, part in found[0].items():
        np.testing.assert_allclose(part, found[1][name], rtol=1e-5)


def test_photos_without_segments_have_a_loss_of_classes_alone_and_finite_gradients():
    segments = squares([[-1, -1, -1, -1]])
    said = perfect(squares([[0, 1, 2, 0]]), 1.0)

    def of_one(*said):
        return total(said[0][None], said[1][None], said[2], segments, key=jax.random.key(0))

    (value, parts), slopes = jax.value_and_grad(of_one, argnums=(0, 1, 2), has_aux=True)(*said)
    assert float(parts["mask"]) == float(parts["dice"]) == 0.0
    assert float(value) == pytest.approx(2 * float(parts["class"]), rel=1e-6)
    assert all(np.isfinite(slope).all() for slope in slopes)
    assert np.abs(slopes[0]).max() > 0
    assert not np.any(slopes[1])


def test_every_prediction_counts_and_a_photos_points_are_its_own():
    segments = squares([[0, 1, 2, 0], [2, -1, 1, -1]])
    logits, embeddings, mask_map = perfect(segments, 2.0)
    one, _ = total(logits[None], embeddings[None], mask_map, segments, key=jax.random.key(3))
    said = jnp.stack([logits] * 3), jnp.stack([embeddings] * 3)
    three, parts = total(*said, mask_map, segments, key=jax.random.key(3))
    assert float(three) == pytest.approx(3 * float(one), rel=0.1)
    assert float(three) != 3 * float(one)
    last = 2 * parts["class"] + 5 * parts["mask"] + 5 * parts["dice"]
    assert float(three) != pytest.approx(3 * float(last), rel=1e-6)  # each prediction has points of its own
    both, second = (draw_points(jax.random.key(0), photos, 4, CONFIG) for photos in (2, 3))
    np.testing.assert_array_equal(both.candidates, second.candidates[:2])
    assert not np.array_equal(both.candidates[0, 0], both.candidates[0, 1])


def test_rows_without_a_photo_count_for_nothing():
    """They are filled with zeros: class 0, and segment 0 everywhere."""
    one = squares([[0, 1, 2, 0]])
    said = perfect(squares([[0, 1, 1, 0]]), 2.0)
    both = Segments(
        classes=jnp.pad(one.classes, ((0, 1), (0, 0))),
        map=jnp.pad(one.map, ((0, 1), (0, 0), (0, 0))),
        present=jnp.array([True, False]),
    )
    longer = [jnp.concatenate([part, part + 1.0]) for part in said]
    found, expected = losses(*longer, both, slots=4), losses(*said, one, slots=4)
    for name, part in expected.items():
        np.testing.assert_allclose(found[name], part, rtol=1e-5)
