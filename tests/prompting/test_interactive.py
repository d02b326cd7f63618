"""What the training interaction promises, with decoders simple enough to predict."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.bilinear import bilinear
from scipy.stats import chisquare

from samjax.core.errors import UserError
from samjax.core.prompts import MaskOutput, PointLabel
from samjax.prompting.interactive import CarriedGradient, InteractionConfig, Refinement, interact

LOGITS_SIZE = (8, 8)
RANDOM_LOGITS = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)


def nothing(output, round_index):
    return ()


def interaction(decode, observe=nothing, *, logits_size=LOGITS_SIZE, **options):
    """Return the interaction as a function of (masks, valid_size, seed)."""
    config = InteractionConfig(**options)

    def run(masks, valid_size, seed):
        keys = jax.random.split(jax.random.key(seed), masks.shape[:2])
        return interact(
            decode, observe, masks=masks, valid_size=valid_size, logits_size=logits_size, keys=keys, config=config
        )

    return run


def play(decode, observe=nothing, *, masks, valid_size, **options):
    return jax.jit(interaction(decode, observe, **options))(masks, valid_size, 0)


@pytest.mark.parametrize(
    ("options", "rounds", "slots"),
    [
        ({}, 11, 11),
        ({"corrections": 2}, 5, 5),
        ({"corrections": 0}, 3, 3),
        ({"corrections": 2, "refinement": Refinement.LAST}, 4, 4),
        ({"corrections": 2, "refinement": Refinement.NONE}, 3, 4),
        ({"corrections": 0, "refinement": Refinement.NONE}, 1, 2),
    ],
)
def test_schedule(masks, valid_size, answer_with, options, rounds, slots):
    """Round r adds one click, but for one round a mask and the last; `corrections` clicks in all."""

    def decode(prompts, key):  # tells through its IoU how many prompts it was given
        return answer_with(prompts, RANDOM_LOGITS, jnp.sum(prompts.valid, axis=-1)[..., None])

    def observe(output, round_index):
        masks_seen.append(output.logits.shape[2])
        return output.iou[..., 0], round_index

    masks_seen = []
    config = InteractionConfig(**options)
    assert (config.rounds, config.slots) == (rounds, slots)
    result = play(decode, observe, masks=masks[:, :2], valid_size=valid_size, **options)
    assert masks_seen[0] == 3, "a single prompt is answered with the three candidates"
    assert set(masks_seen[1:]) <= {1}, "several prompts with one mask"
    given, round_index = result.observations
    assert round_index.tolist() == list(range(rounds))
    assert (given[0] == 2).all()
    added = np.diff(given, axis=0)
    assert ((added == 0) | (added == 1)).all()
    assert (added.sum(axis=0) == config.corrections).all()
    if config.refinement is not Refinement.NONE:
        assert (added[-1] == 0).all()
    assert result.prompts.labels.shape[-1] == slots
    assert (result.prompts.valid.sum(axis=-1) == 2 + config.corrections).all()


def test_the_round_without_a_click_is_drawn_uniformly_per_mask(answer_with):
    masks = jnp.ones((2, 3000, 2, 2), bool)
    result = play(lambda prompts, key: answer_with(prompts, -jnp.ones((1, 1))), masks=masks,
                  valid_size=jnp.array([[2, 2], [2, 2]]), logits_size=(1, 1), corrections=4)  # fmt: skip
    clicks = np.asarray(result.prompts.valid[..., 2:])
    assert (clicks.sum(axis=-1) == 4).all()
    assert chisquare(np.bincount(np.argmin(clicks, axis=-1).ravel(), minlength=5)).pvalue > 1e-3


def test_the_first_prompt_is_a_point_or_a_box_at_even_odds(answer_with):
    masks = jnp.zeros((1, 4000, 16, 16), bool).at[:, :, 4:12, 3:13].set(True)
    result = play(lambda prompts, key: answer_with(prompts, RANDOM_LOGITS), masks=masks,
                  valid_size=jnp.array([[16, 16]]), corrections=0, refinement=Refinement.NONE)  # fmt: skip
    labels, coords = np.asarray(result.prompts.labels[0]), np.asarray(result.prompts.coords[0])
    is_point = labels[:, 0] == PointLabel.FOREGROUND
    assert (labels[is_point, 1] == PointLabel.NOT_A_POINT).all()
    assert (labels[~is_point] == [PointLabel.BOX_MIN, PointLabel.BOX_MAX]).all()
    assert abs(is_point.mean() - 0.5) < 0.03
    x, y = coords[is_point, 0].astype(int).T
    assert masks[0, 0, y, x].all()
    np.testing.assert_allclose(coords[~is_point].mean(axis=0), [[3, 4], [12, 11]], atol=0.15)
    assert (coords[~is_point].std(axis=0) > 0.5).all()


@pytest.mark.parametrize(("share", "first_label"), [(1.0, PointLabel.FOREGROUND), (0.0, PointLabel.BOX_MIN)])
def test_point_probability_is_the_share_of_points(masks, valid_size, answer_with, share, first_label):
    result = play(lambda prompts, key: answer_with(prompts, RANDOM_LOGITS), masks=masks, valid_size=valid_size,
                  point_probability=share, corrections=0, refinement=Refinement.NONE)  # fmt: skip
    assert (result.prompts.labels[..., 0] == int(first_label)).all()


def test_clicks_fall_on_the_previous_rounds_errors_and_say_what_is_true(masks, valid_size, answer_with):
    """The decoder inverts its answer every round, so a click on any other round's error would show."""

    def decode(prompts, key):
        first = ~prompts.has_mask[:, :, None, None, None]
        return answer_with(prompts, jnp.where(first, RANDOM_LOGITS, -prompts.mask_logits[:, :, None]))

    prompts = play(decode, masks=masks, valid_size=valid_size).prompts
    seen = 0
    for image, mask, slot in np.argwhere(prompts.valid[:, :, 2:]):
        prediction = bilinear(RANDOM_LOGITS * (-1) ** slot, masks.shape[-2:]) > 0
        truth = np.asarray(masks[image, mask])
        x, y = np.asarray(prompts.coords[image, mask, 2 + slot]).astype(int)
        assert prediction[y, x] != truth[y, x]
        assert prompts.labels[image, mask, 2 + slot] == (
            PointLabel.FOREGROUND if truth[y, x] else PointLabel.BACKGROUND
        )
        assert y < valid_size[image, 0]
        assert x < valid_size[image, 1]
        seen += 1
    assert seen == 2 * 3 * 8
    clicks = np.asarray(prompts.coords)[:, :, 2:][np.asarray(prompts.valid)[:, :, 2:]].reshape(6, 8, 2)
    assert all(len(np.unique(mask, axis=0)) >= 6 for mask in clicks), "each round draws its own"


@pytest.mark.parametrize("number_of_masks", [11, 16])
def test_masks_worked_on_in_groups_click_apart(answer_with, number_of_masks):
    """Masks go through the error region a few at a time: none is lost, moved or given another's random numbers."""
    masks = jnp.zeros((2, number_of_masks, 32, 32), bool)
    masks = masks.at[:, jnp.arange(number_of_masks), jnp.arange(number_of_masks)].set(True)  # mask i is row i
    prompts = play(lambda prompts, key: answer_with(prompts, -jnp.ones((8, 8))), masks=masks,
                   valid_size=jnp.array([[32, 32], [32, 32]]), corrections=4).prompts  # fmt: skip
    x, y = np.moveaxis(np.asarray(prompts.coords[:, :, 2:]), -1, 0)
    valid = np.asarray(prompts.valid[:, :, 2:])
    rows = np.broadcast_to(np.arange(number_of_masks)[:, None], valid.shape)
    assert (y[valid] == rows[valid]).all()
    columns = x[valid].reshape(2 * number_of_masks, 4)
    assert len(np.unique(columns, axis=0)) == 2 * number_of_masks


def test_padding_is_never_clicked(answer_with):
    """A decoder that claims everything is wrong mostly in the padding; clicks find the photo's few wrong pixels."""
    masks = jnp.zeros((1, 1, 32, 32), bool).at[:, :, :10, :10].set(True)
    prompts = play(lambda prompts, key: answer_with(prompts, jnp.ones((8, 8))), masks=masks,
                   valid_size=jnp.array([[10, 11]])).prompts  # fmt: skip
    clicks = np.asarray(prompts.coords[0, 0, 2:])[np.asarray(prompts.valid[0, 0, 2:])]
    assert (clicks[:, 0] == 10).all()
    assert (clicks[:, 1] < 10).all()


def test_a_perfect_prediction_is_clicked_on_the_mask(masks, valid_size, answer_with):
    def decode(prompts, key):
        return answer_with(prompts, jnp.where(masks, 1.0, -1.0)[:, :, None])

    prompts = play(decode, masks=masks, valid_size=valid_size, logits_size=(32, 32)).prompts
    labels, valid = np.asarray(prompts.labels[:, :, 2:]), np.asarray(prompts.valid[:, :, 2:])
    assert (labels[valid] == PointLabel.FOREGROUND).all()
    assert (valid.sum(axis=-1) == [[8, 8, 0], [8, 8, 0]]).all(), "nothing of an empty mask can be clicked"
    for image, mask, slot in np.argwhere(valid):
        x, y = np.asarray(prompts.coords[image, mask, 2 + slot]).astype(int)
        assert masks[image, mask, y, x]


def test_the_most_confident_candidate_is_carried_on(answer_with):
    """Token 0 boasts the highest IoU but is no candidate; from then on it alone answers."""
    offsets = jnp.array([1.0, 10.0, 100.0, 1000.0])[:, None, None]
    iou = jnp.array([[9.0, 0.5, 0.1, 0.2], [9.0, 0.1, 0.5, 0.2], [9.0, 0.1, 0.2, 0.5]])

    def decode(prompts, key):
        return answer_with(prompts, offsets + prompts.mask_logits[:, :, None], iou)

    result = play(decode, lambda output, _: jnp.mean(output.logits, axis=(2, 3, 4)), masks=jnp.ones((1, 3, 8, 8), bool),
                  valid_size=jnp.array([[8, 8]]), corrections=1)  # fmt: skip
    carried = np.array([10.0, 100.0, 1000.0])
    expected = [np.full(3, 370.0), carried + 1, carried + 2, carried + 3]
    np.testing.assert_allclose(result.observations[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(result.prompts.mask_logits[0, :, 0, 0], carried + 3, rtol=1e-6)


@pytest.mark.parametrize("carried", list(CarriedGradient))
def test_gradients_are_those_of_the_unrolled_rounds(masks, valid_size, answer_with, carried):
    """Rematerialised and scanned, the chain x -> scale * x + shift differentiates like the loop written out."""

    def scanned(parameters):
        def decode(prompts, key):
            logits = parameters["scale"] * prompts.mask_logits + parameters["shift"]
            return answer_with(prompts, logits[:, :, None])

        run = interaction(
            decode, lambda output, _: output.logits[0, 0, 0, 0, 0] ** 2, corrections=2, carried_gradient=carried
        )
        return jnp.sum(run(masks, valid_size, 0).observations)

    def unrolled(parameters):
        total, logit = 0.0, 0.0
        for _ in range(5):
            fed_back = logit if carried is CarriedGradient.FLOW else jax.lax.stop_gradient(logit)
            logit = parameters["scale"] * fed_back + parameters["shift"]
            total = total + logit**2
        return total

    parameters = {"scale": jnp.float32(0.7), "shift": jnp.float32(0.3)}
    value, gradient = jax.jit(jax.value_and_grad(scanned))(parameters)
    expected_value, expected = jax.jit(jax.value_and_grad(unrolled))(parameters)
    np.testing.assert_allclose(value, expected_value, rtol=1e-6)
    np.testing.assert_allclose(gradient["scale"], expected["scale"], rtol=1e-5)
    np.testing.assert_allclose(gradient["shift"], expected["shift"], rtol=1e-5)


def test_the_backward_pass_keeps_one_carried_mask_a_round(masks, valid_size):
    """Not the decoder's insides, which are 16 times larger here, nor ground truth or embeddings once a round."""

    def loss(weights, embedding):
        def decode(prompts, key):
            hidden = jnp.tanh(embedding[:, None] * prompts.mask_logits[..., None])
            logits = jnp.moveaxis(hidden @ weights, -1, 2)
            return MaskOutput(logits=logits, iou=jnp.mean(logits, axis=(3, 4)))

        run = interaction(decode, lambda output, _: jnp.mean(output.logits))
        return jnp.sum(run(masks, valid_size, 0).observations)

    def shapes_between_passes():
        _, backward = jax.vjp(loss, jnp.ones((16, 4)), jnp.ones((2, 8, 8, 16)))
        return backward

    kept = jax.tree.leaves(jax.eval_shape(shapes_between_passes))
    a_round = [leaf for leaf in kept if leaf.shape[:1] == (10,)]
    assert (10, 2, 3, 8, 8) in [leaf.shape for leaf in a_round]
    assert sum(leaf.size for leaf in a_round) < 2 * 10 * 2 * 3 * 8 * 8


def test_one_compilation_serves_every_step_without_host_callbacks(masks, valid_size, answer_with):
    traces = []

    @jax.jit
    def step(masks, keys):
        def decode(prompts, keys):
            traces.append(1)
            return answer_with(prompts, RANDOM_LOGITS)

        return interact(decode, nothing, masks=masks, valid_size=valid_size, logits_size=LOGITS_SIZE, keys=keys,
                        config=InteractionConfig()).prompts  # fmt: skip

    keys, other_keys = (jax.random.split(jax.random.key(seed), masks.shape[:2]) for seed in range(2))
    first = step(masks, keys)
    traced = len(traces)
    assert "callback" not in str(jax.make_jaxpr(step)(masks, keys))
    second = step(~masks, other_keys)
    again = step(masks, keys)
    assert step._cache_size() == 1
    assert len(traces) == traced, "rounds are scanned, not unrolled, and nothing is traced again"
    assert traced <= 4
    assert (first.coords == again.coords).all()
    assert (first.coords != second.coords).any()


def test_decoder_randomness_differs_by_round_and_repeats_by_key(masks, valid_size, answer_with):
    def decode(prompts, key):
        return answer_with(prompts, jax.vmap(jax.vmap(jax.random.normal))(key)[:, :, None, None, None])

    run = jax.jit(interaction(decode, lambda output, _: output.logits[:, :, 0, 0, 0]))
    first, again, other = (np.asarray(run(masks, valid_size, seed).observations) for seed in (0, 0, 1))
    assert len(np.unique(first)) == first.size == 11 * masks.shape[0] * masks.shape[1]
    np.testing.assert_array_equal(first, again)
    assert not np.intersect1d(first, other).size


def test_the_interaction_is_the_same_on_one_device_and_on_eight(answer_with):
    rng = np.random.default_rng(0)
    masks = jnp.asarray(rng.random((8, 3, 16, 16)) < 0.3)
    valid_size = jnp.full((8, 2), 16)

    def decode(prompts, key):
        return answer_with(prompts, RANDOM_LOGITS + 0.5 * prompts.mask_logits[:, :, None])

    run = jax.jit(interaction(decode, corrections=3))
    alone = run(masks, valid_size, 0).prompts
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    spread = run(*jax.device_put((masks, valid_size), rows), 0).prompts
    jax.tree.map(np.testing.assert_array_equal, alone, spread)


def test_settings_are_checked_and_saved_as_text():
    for options in ({"corrections": -1}, {"point_probability": 1.5}, {"box_noise_std": -0.1}, {"box_noise_max": -1.0}):
        with pytest.raises(UserError, match=next(iter(options))):
            InteractionConfig(**options)
    assert json.dumps([Refinement.RANDOM_AND_LAST, CarriedGradient.FLOW]) == '["random_and_last", "flow"]'
