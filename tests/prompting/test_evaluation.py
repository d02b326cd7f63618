"""The evaluation clicks are those of the zero-shot protocol."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from samjax.core.errors import UserError
from samjax.core.prompts import PointLabel
from samjax.prompting.evaluation_clicks import evaluate_clicks

SIZE = (32, 32)


def play(decode, observe=lambda output, carried, round_index: (), *, masks, valid_size, clicks=3, logits_size=SIZE):
    return evaluate_clicks(decode, observe, masks=masks, valid_size=valid_size, logits_size=logits_size, clicks=clicks)


def centre(region):
    """Return (x, y, distance) of the maximum of scipy's transform."""
    distance = distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(np.argmax(distance), distance.shape)
    return x, y, distance.max()


def test_clicks_are_the_centres_of_mask_and_errors(masks, valid_size, answer_with):
    predictions = np.random.default_rng(0).normal(size=(2, 3, *SIZE)).astype(np.float32)
    predictions[:, :, 4:12, 4:30] = 1.0  # blocks, so that centres are deep
    predictions[:, :, 14:30, 4:12] = 1.0

    def decode(prompts, key):
        first = ~prompts.has_mask[:, :, None, None, None]
        return answer_with(prompts, jnp.where(first, predictions[:, :, None], -prompts.mask_logits[:, :, None]))

    prompts = play(decode, masks=masks, valid_size=valid_size, clicks=4).prompts
    assert prompts.labels.shape == (2, 3, 5)
    assert (prompts.labels[..., 1] == int(PointLabel.NOT_A_POINT)).all()
    for image, mask in np.ndindex(2, 2):
        truth = np.asarray(masks[image, mask])
        height, width = valid_size[image]
        photo = np.zeros(SIZE, bool)
        photo[:height, :width] = True
        assert prompts.coords[image, mask, 0].tolist() == [*centre(truth)[:2]]
        assert prompts.labels[image, mask, 0] == PointLabel.FOREGROUND
        for slot in (2, 3, 4):
            prediction = predictions[image, mask] * (-1) ** slot > 0
            missed, claimed = centre(truth & ~prediction & photo), centre(~truth & prediction & photo)
            x, y, _ = missed if missed[2] > claimed[2] else claimed
            assert prompts.coords[image, mask, slot].tolist() == [x, y]
            expected = PointLabel.FOREGROUND if missed[2] > claimed[2] else PointLabel.BACKGROUND
            assert prompts.labels[image, mask, slot] == expected
    assert prompts.valid[:, :2].all()


def test_the_fatter_error_is_clicked(answer_with):
    """Three masks: more missed, more claimed, a tie."""
    truth, prediction = np.zeros((1, 3, *SIZE), bool), np.full((1, 3, 1, *SIZE), -1.0, np.float32)
    for mask, (missed, claimed) in enumerate([(5, 3), (3, 5), (3, 3)]):
        truth[0, mask, 2 : 2 + missed, 2 : 2 + missed] = True
        prediction[0, mask, 0, 20 : 20 + claimed, 20 : 20 + claimed] = 1.0
    prompts = play(lambda prompts, key: answer_with(prompts, prediction), masks=jnp.asarray(truth),
                   valid_size=jnp.array([SIZE]), clicks=2).prompts  # fmt: skip
    labels = [PointLabel.FOREGROUND, PointLabel.BACKGROUND, PointLabel.BACKGROUND]
    assert prompts.labels[0, :, 2].tolist() == labels
    assert prompts.coords[0, :, 2].tolist() == [[4, 4], [22, 22], [21, 21]]


def test_a_perfect_prediction_is_clicked_at_its_centre(masks, valid_size, answer_with):
    perfect = jnp.where(masks, 1.0, -1.0)[:, :, None]
    prompts = play(lambda prompts, key: answer_with(prompts, perfect), masks=masks, valid_size=valid_size).prompts
    assert (prompts.labels[:, :2, 2:] == int(PointLabel.FOREGROUND)).all()
    assert (prompts.coords[:, :2, 2:] == prompts.coords[:, :2, :1]).all()
    assert not prompts.valid[:, 2, 2:].any(), "nothing of an empty mask can be clicked"


def test_observers_see_all_candidates_and_the_carried_mask(masks, valid_size, answer_with):
    offsets = jnp.arange(1.0, 5.0)[:, None, None]

    def decode(prompts, key):
        return answer_with(prompts, offsets + prompts.mask_logits[:, :, None], [9.0, 0.2, 0.7, 0.3])

    def observe(output, carried, round_index):
        assert carried.logits.shape[2] == carried.iou.shape[2] == 1
        return jnp.max(output.logits), jnp.mean(carried.logits), jnp.mean(carried.iou), round_index

    best, carried, iou, rounds = play(decode, observe, masks=masks, valid_size=valid_size).observations
    np.testing.assert_allclose(best, [4, 4, 5])
    np.testing.assert_allclose(carried, [3, 4, 5])
    np.testing.assert_allclose(iou, [0.7, 9, 9], rtol=1e-6)
    assert rounds.tolist() == [0, 1, 2]


@pytest.mark.parametrize("clicks", [1, 3])
def test_there_are_as_many_rounds_as_clicks(masks, valid_size, answer_with, clicks):
    def decode(prompts, key):
        return answer_with(prompts, -jnp.ones(()), jnp.sum(prompts.valid, axis=-1)[..., None])

    result = play(decode, lambda output, *_: output.iou[0, 0, 0], masks=masks, valid_size=valid_size, clicks=clicks)
    assert result.observations.tolist() == list(range(2, 2 + clicks))


def test_no_clicks_is_an_error(masks, valid_size, answer_with):
    with pytest.raises(UserError, match="clicks is 0"):
        play(lambda prompts, key: answer_with(prompts, jnp.ones(())), masks=masks, valid_size=valid_size, clicks=0)


def test_no_host_callbacks(masks, valid_size, answer_with):
    jaxpr = jax.make_jaxpr(
        lambda masks: play(lambda prompts, key: answer_with(prompts, jnp.ones(())), masks=masks, valid_size=valid_size)
    )(masks)
    assert "callback" not in str(jaxpr)
