"""The training objective and its gradient on every parameter, against PyTorch's autograd.

Our side is what the training step runs: photos as bytes, the annotator's rounds, rematerialisation and losses.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from reference import SMALL, graph, random_case, reference
from replay import IMAGES, LOSS_SIZE, MASKS, Scene, played, replay

from samjax.interop.tables.sam import SAM
from samjax.losses.sam_loss import LossConfig, loss_pixels, loss_target, round_loss, sam_loss
from samjax.nn.stack import Remat
from samjax.prompting.interactive import CarriedGradient, InteractionConfig, Refinement, interact

CHAIN = InteractionConfig(corrections=1, refinement=Refinement.LAST)
LOSS = LossConfig(loss_size=LOSS_SIZE)
REMAT = dataclasses.replace(SMALL, image_encoder=dataclasses.replace(SMALL.image_encoder, remat=Remat.FULL))


@pytest.fixture(scope="module")
def scene():
    return Scene.draw()


@pytest.fixture(scope="module")
def theirs():
    return reference(SMALL, seed=1)


def weights(model) -> tuple[dict, dict]:
    """Return the reference's weights as our parameters and buffers."""
    return jax.tree.map(jnp.asarray, SAM.from_torch({key: a.numpy() for key, a in model.state_dict().items()}, SMALL))


def encoded(model, scene):
    return model.encode(jnp.asarray(scene.image), jnp.asarray(scene.valid_size))


def observer(scene):
    """Return `round_loss` on the scene's ground truth."""
    target = loss_target(jnp.asarray(scene.masks), LOSS.loss_size)
    inside = loss_pixels(jnp.asarray(scene.valid_size), image_size=SMALL.image_size, loss_size=LOSS.loss_size)
    return lambda output, _: round_loss(output, target, inside, LOSS)


def one_round(scene, prompts):
    """Return the function from (parameters, buffers) to (loss, gradient) of a round with three candidates."""

    def objective(params, buffers):
        model = nnx.merge(graph(REMAT), params, buffers)
        observed = observer(scene)(model.decode(encoded(model, scene), prompts).candidates(), 0)
        rounds = jax.tree.map(lambda term: term[None], observed)
        return sam_loss(rounds, jnp.asarray(scene.mask_valid), LOSS)[0]

    return jax.jit(jax.value_and_grad(objective))


def annotated(params, buffers, scene, config):
    """Return ((loss, prompts played), gradient) of the annotator's rounds."""

    def objective(params):
        model = nnx.merge(graph(REMAT), params, buffers)
        played = interact(
            model.decoder(encoded(model, scene)),
            observer(scene),
            masks=jnp.asarray(scene.masks),
            valid_size=jnp.asarray(scene.valid_size),
            logits_size=SMALL.logits_size,
            keys=jax.random.split(jax.random.key(0), scene.mask_valid.shape),
            config=config,
        )
        return sam_loss(played.observations, jnp.asarray(scene.mask_valid), LOSS)[0], played.prompts

    return jax.jit(jax.value_and_grad(objective, has_aux=True))(params)


def check_gradients(name, gradient, buffers, theirs, agrees) -> None:
    """Every tensor to 1e-4 of its own norm.

    Two kinds of tensors have no gradient. What a loss does not reach is exactly zero on both sides. A bias of the keys
    adds the same to all of a query's scores, which the softmax takes away: what is left of it there is rounding.
    """
    gradient = SAM.to_torch(gradient, buffers, SMALL)
    expected = {key: parameter.grad for key, parameter in theirs.named_parameters()}
    del expected["shared_image_embedding.positional_embedding"]  # a parameter there, a buffer here
    whole = torch.stack([grad.norm() for grad in expected.values() if grad is not None]).norm().item()
    for key, grad in expected.items():
        if grad is None or not grad.any():
            assert not gradient[key].any(), f"{key} has a gradient, PyTorch's has none"
        elif key.endswith("k_proj.bias"):
            assert np.linalg.norm(gradient[key]) < 1e-6 * whole > grad.norm(), key
        else:
            agrees(f"gradient, {name}", gradient[key], grad, 1e-4)


def test_one_round(scene, theirs, agrees):
    params, buffers = weights(theirs)
    case = random_case(SMALL, "point", IMAGES, MASKS)
    loss, gradient = one_round(scene, case.prompts(SMALL, IMAGES, MASKS))(params, buffers)
    theirs.zero_grad()
    expected = replay(theirs, scene, lambda i, m, _: case.of(i, m), rounds=1)
    expected.backward()
    agrees("loss, one round", loss, expected.detach())
    check_gradients("one round", gradient, buffers, theirs, agrees)


@pytest.mark.parametrize(
    "carried", [CarriedGradient.FLOW, pytest.param(CarriedGradient.STOP, marks=pytest.mark.slow)], ids=["flow", "stop"]
)
def test_three_rounds(carried, scene, theirs, agrees):
    """The annotator's own rounds: a first prompt, a click, and one with the logits alone."""
    params, buffers = weights(theirs)
    config = dataclasses.replace(CHAIN, carried_gradient=carried)
    (loss, prompts), gradient = annotated(params, buffers, scene, config)
    theirs.zero_grad()
    expected = replay(
        theirs,
        scene,
        lambda i, m, round_index: played(prompts, i, m, round_index),
        rounds=config.rounds,
        carries_gradient=carried is CarriedGradient.FLOW,
    )
    expected.backward()
    agrees("loss, three rounds", loss, expected.detach())
    check_gradients(f"three rounds, logits {carried.value}", gradient, buffers, theirs, agrees)
