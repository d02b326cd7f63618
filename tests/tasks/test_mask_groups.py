"""Masks in groups: whatever the group, the loss and its gradient are those of all masks at once, but for rounding.

The other side is written out here: one interaction of all masks, its loss, and JAX's derivative of both. Ten AdamW
steps with other groups on eight devices: `train/test_meshes.py`.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from helpers.micro import drawn_micro, micro_run

from samjax.cli.main import main
from samjax.core.batches import Batch, unpack_masks
from samjax.core.errors import UserError
from samjax.core.random import keys_of_masks
from samjax.core.tree import named_leaves
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.losses.sam_loss import loss_pixels, loss_target, round_loss, sam_loss
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.nn.rngs import initial_rngs
from samjax.prompting.interactive import interact
from samjax.tasks import mask_groups
from samjax.training.config import StepKeys

SLOTS = 8
COUNTS = (0, 1, 8, 5)  # valid masks of each photo
KEY = jax.random.key(3)


def configured(**fields):
    """A run with dropout whose photos have eight slots."""
    run = micro_run("", data=MaskDataConfig(source="", max_masks=SLOTS), batch_size=len(COUNTS), **fields)
    decoder = MaskDecoderConfig(hidden=32, heads=2, dropout=0.1)
    return dataclasses.replace(run, model=dataclasses.replace(run.model, mask_decoder=decoder))


def batch_of(counts=COUNTS) -> Batch:
    draw = np.random.default_rng(0)
    masks = np.zeros((len(counts), SLOTS, 64, 64), bool)
    for photo in masks:
        for mask in photo:
            y, x = draw.integers(0, 44, 2)
            mask[y : y + 20, x : x + 20] = True
    valid = np.arange(SLOTS) < np.array(counts)[:, None]
    return Batch(
        image=jnp.asarray(draw.integers(0, 256, (len(counts), 64, 64, 3), dtype=np.uint8)),
        valid_size=jnp.full((len(counts), 2), 64),
        masks=jnp.asarray(np.packbits(masks & valid[..., None, None], axis=-1)),
        mask_valid=jnp.asarray(valid),
        record_id=jnp.arange(len(counts)),
    )


def ungrouped(config, model, batch):
    """The loss of all masks of all photos in one interaction."""
    masks = unpack_masks(batch.masks, 64)
    target = loss_target(masks, config.loss.loss_size)
    pixels = loss_pixels(batch.valid_size, image_size=(64, 64), loss_size=config.loss.loss_size)
    played = interact(
        model.decoder(model.encode(batch.image, batch.valid_size, key=KEY)),
        lambda output, _: round_loss(output, target, pixels, config.loss),
        masks=masks,
        valid_size=batch.valid_size,
        logits_size=config.model.logits_size,
        keys=keys_of_masks(KEY, *batch.mask_valid.shape),
        config=config.prompting,
    )
    return sam_loss(played.observations, batch.mask_valid, config.loss)


def grouped(config, model, batch):
    return config.objective(model, batch, keys=StepKeys(model=KEY, task=KEY))


def differentiate(objective, config, batch=None):
    """Return the metrics and every parameter's gradient by name."""
    graph, params, rest = nnx.split(with_dropout(config), nnx.Param, ...)

    @jax.jit
    def run(params, batch):
        return jax.value_and_grad(
            lambda params: objective(config, nnx.merge(graph, params, rest), batch), has_aux=True
        )(params)

    (loss, metrics), gradients = run(nnx.to_pure_dict(params), batch_of() if batch is None else batch)
    np.testing.assert_array_equal(loss, metrics["loss"])
    return metrics, named_leaves(gradients)


def with_dropout(config):
    """The micro model's drawn parameters in a model that drops out."""
    graph, _ = nnx.split(nnx.eval_shape(lambda: config.model.make(rngs=initial_rngs(0))))
    return nnx.merge(graph, nnx.to_pure_dict(nnx.state(drawn_micro())))


def assert_same(found, expected):
    """Metrics to 1e-6. Each gradient to 1e-6 of its norm, or to 1e-7 of the whole gradient's: of four small ones the
    summands cancel, and keep their rounding. Biases of keys have no gradient but that."""
    (metrics, gradients), (other_metrics, other_gradients) = found, expected
    for name, value in other_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-6, err_msg=name)
    assert gradients.keys() == other_gradients.keys()
    whole = np.linalg.norm([np.linalg.norm(value) for value in other_gradients.values()])
    for name, value in other_gradients.items():
        if not name.endswith("key/bias"):
            distance, size = np.linalg.norm(gradients[name] - value), np.linalg.norm(value)
            assert distance <= max(1e-6 * size, 1e-7 * whole), (name, distance, size, whole)


@pytest.fixture(scope="module")
def expected():
    return differentiate(ungrouped, configured())


@pytest.mark.parametrize(
    ("at_once", "recompute"),
    [
        pytest.param(3, True, marks=pytest.mark.slow),  # does not divide the slots: they are padded
        *(
            pytest.param(*case, marks=[pytest.mark.slow, pytest.mark.long])
            for case in [(1, True), (3, False), (4, True), (8, True), (16, False), (32, True)]
        ),
    ],
)
def test_groups_change_nothing_but_the_order_of_sums(expected, at_once, recompute):
    """With dropout, and photos without masks, with one, with all, and with masks in half a group."""
    config = configured(masks_at_once=at_once, recompute_rounds=recompute)
    assert_same(differentiate(grouped, config), expected)


SHAPES = {"replicated": (8, 1, 1), "fsdp": (1, 8, 1), "fsdp_tensor": (1, 2, 4), "all_axes": (2, 2, 2)}


def toy(mesh=None, *, at_once, counts, masks=7, calls=None):
    """Play a loss that takes no time: of photos of one number and masks of one number each, with one parameter."""
    draw = np.random.default_rng(0)
    embedding, weights = (jnp.asarray(draw.normal(size=shape), jnp.float32) for shape in ((8, 5), (8, masks)))
    valid = jnp.arange(masks) < jnp.asarray(counts)[:, None]

    def play(scale, embedding, photos, slots):
        if calls is not None:
            jax.debug.callback(lambda valid: calls.append(int(valid.sum())), slots["valid"])
        felt = jnp.sin(scale * jnp.sum(embedding, axis=-1)[:, None] * slots["weights"] + photos[:, None])
        return jnp.sum(jnp.where(slots["valid"], felt, 0)), (felt, slots["weights"])

    arguments = (jnp.float32(0.7), embedding, jnp.arange(8.0), {"weights": weights, "valid": valid})

    def differentiable(scale, embedding):
        observed, zero = mask_groups.play_in_groups(
            play, scale, embedding, *arguments[2:], valid=valid, at_once=at_once, divisor=jnp.float32(1)
        )
        return zero, observed

    def run():
        (_, observed), gradients = jax.value_and_grad(differentiable, argnums=(0, 1), has_aux=True)(*arguments[:2])
        return observed, gradients

    if mesh is None:
        found = jax.jit(run)()
    else:
        axes = (jax.sharding.AxisType.Auto,) * 3
        with jax.set_mesh(jax.make_mesh(mesh, ("data", "fsdp", "tensor"), axis_types=axes)):
            found = jax.jit(run)()
    jax.effects_barrier()
    expected = jax.value_and_grad(play, argnums=(0, 1), has_aux=True)(*arguments)
    return jax.device_get(found), jax.device_get(expected), np.asarray(valid)


@pytest.mark.parametrize("at_once", [1, 3, 7, 16, 56])
@pytest.mark.parametrize("mesh", [None, *SHAPES.values()], ids=["no mesh", *SHAPES])
def test_any_group_on_any_mesh(mesh, at_once):
    """Also where devices share photos, and masks do not divide by them or by the group."""
    (observed, gradients), ((_, seen), derivative), valid = toy(mesh, at_once=at_once, counts=(7, 0, 1, 4, 2, 7, 7, 3))
    for mine, theirs in zip(observed, seen, strict=True):
        np.testing.assert_allclose(np.where(valid, mine, 0), np.where(valid, theirs, 0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradients[0], derivative[0], rtol=1e-5)
    np.testing.assert_allclose(gradients[1], derivative[1], rtol=1e-5, atol=1e-6)


def test_groups_without_a_mask_are_skipped():
    calls = []
    toy(at_once=2, counts=(7, 0, 1, 4, 2, 0, 0, 3), calls=calls)
    assert sorted(calls, reverse=True)[1:] == [2] * 7 + [1] * 3, "the largest is the comparison's, of all masks"


def test_devices_that_share_a_photo_get_as_many_masks():
    """Valid slots come first: in contiguous parts the last device would have none."""
    calls = []
    toy(SHAPES["fsdp_tensor"], at_once=1, counts=(4,) * 8, calls=calls)
    assert calls.count(1) == 32
    toy(SHAPES["fsdp_tensor"], at_once=2, counts=(4,) * 8, calls=calls)
    assert calls.count(2) == 0


def test_the_zero_has_the_derivative_of_the_mean_loss():
    """Three times the loss over four masks. What is not differentiated costs no gradient."""
    ones, photos = jnp.ones((1, 4)), jnp.zeros(1)

    def play(parts, embedding, photos, slots):
        return jnp.sum(jnp.sin(parts["a"]) * parts["b"] * slots + jnp.tanh(embedding)[:, :1]), slots

    def loss(a, b, embedding):
        _, zero = mask_groups.play_in_groups(
            play, {"a": a, "b": b}, embedding, photos, ones, valid=ones > 0, at_once=4, divisor=jnp.int32(4)
        )
        return 3 * (jnp.float32(7) + zero)

    arguments = (jnp.float32(2), jnp.float32(5), jnp.zeros((1, 2)))
    assert loss(*arguments) == 21
    value, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2))(*arguments)
    assert value == 21
    np.testing.assert_allclose(gradients[0], 3 * 5 * np.cos(2), rtol=1e-6)
    np.testing.assert_allclose(gradients[1], 3 * np.sin(2), rtol=1e-6)
    np.testing.assert_allclose(gradients[2], [[3, 0]])
    programs = {one: str(jax.make_jaxpr(jax.grad(loss, argnums=one))(*arguments)) for one in (0, 1, 2)}
    assert [("cos" in programs[one]) for one in (0, 1, 2)] == [True, False, False]
    assert "cos" not in str(jax.make_jaxpr(loss)(*arguments))
    embedding_sums = {one: "dynamic_update_slice" in program for one, program in programs.items()}
    assert embedding_sums == {0: False, 1: False, 2: True}


def test_the_prompts_of_a_mask_do_not_depend_on_its_group():
    config, model, batch = configured(), drawn_micro(), batch_of()

    def prompts(at_once):
        run = dataclasses.replace(config, masks_at_once=at_once)
        return jax.jit(lambda model: run.play(model, batch, keys=StepKeys(model=KEY, task=KEY))[2])(model)

    ones, fives = prompts(1), prompts(5)
    valid = np.asarray(batch.mask_valid)
    np.testing.assert_array_equal(ones.coords[valid], fives.coords[valid])
    np.testing.assert_array_equal(ones.labels[valid], fives.labels[valid])


def test_the_run_says_its_group_and_what_it_pads():
    assert configured(masks_at_once=3).choices("tpu")["masks at once"] == "3, of a photo's 8 slots, padded to 9"
    assert configured(masks_at_once=4).choices("tpu")["masks at once"] == "4, of a photo's 8 slots"
    assert configured(masks_at_once=17).choices("tpu")["masks at once"] == "17, those of up to 2 photos"
    assert configured().grouping("cpu").masks_at_once == 32, "never more than a batch has"
    rounds = {platform: configured().grouping(platform).recompute_rounds for platform in ("cpu", "gpu", "tpu")}
    assert rounds == {"cpu": False, "gpu": True, "tpu": True}


@pytest.mark.parametrize(("at_once", "sentence"), [(0, "masks_at_once is 0"), (33, "a batch has 32 slots for masks")])
def test_bad_groups(at_once, sentence):
    with pytest.raises(UserError, match=sentence):
        configured(masks_at_once=at_once)


def test_bad_group_on_the_command_line(capsys):
    assert main(["train", "experiments/sam/smoke.py", "--masks-at-once", "0"]) == 2
    assert "masks_at_once is 0" in capsys.readouterr().err
