"""Laws of one update."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from helpers.micro import drawn_micro

from samjax.core.tree import named_leaves
from samjax.parallel.mesh import make_mesh
from samjax.parallel.sharding import batch_sharding
from samjax.prompting.interactive import InteractionConfig, Refinement
from samjax.training.config import StepKeys
from samjax.training.state import make_blueprint
from samjax.training.step import lower_train_step


@pytest.fixture(scope="module")
def drawn(micro_run):
    """The first batch, as it is drawn."""
    mesh = make_mesh(micro_run.mesh, jax.devices()[:1])
    stream = micro_run.stream(sharding=batch_sharding(mesh))
    batch = next(stream)
    stream.close()
    return batch


def test_slots_without_a_mask_weigh_nothing(micro_run, drawn):
    """Twice the slots, the new ones invalid and full of noise: the same loss and decoder gradients."""
    prompting = InteractionConfig(point_probability=0.0, box_noise_std=0.0, corrections=0, refinement=Refinement.LAST)
    config = dataclasses.replace(micro_run, prompting=prompting)
    model = drawn_micro()
    graph, params, rest = nnx.split(model, nnx.Param, ...)
    params = nnx.to_pure_dict(params)
    noise = np.random.default_rng(0).integers(0, 256, drawn.masks.shape, np.uint8)
    padded = dataclasses.replace(
        drawn,
        masks=jnp.concatenate([drawn.masks, noise], axis=1),
        mask_valid=jnp.concatenate([drawn.mask_valid, jnp.zeros_like(drawn.mask_valid)], axis=1),
    )

    @jax.jit
    def terms(params, batch):
        def objective(decoder):
            key = jax.random.key(0)
            model = nnx.merge(graph, {**params, "mask_decoder": decoder}, rest)
            return config.objective(model, batch, keys=StepKeys(model=key, task=key))

        (_, metrics), gradients = jax.value_and_grad(objective, has_aux=True)(params["mask_decoder"])
        return {**metrics, "grad_norm": optax.tree.norm(gradients)}

    exact, found = terms(params, drawn), terms(params, padded)
    assert bool(drawn.mask_valid.all())
    for name in ("loss", "focal", "dice", "iou_mse", "miou", "grad_norm"):
        np.testing.assert_allclose(found[name], exact[name], rtol=1e-5, err_msg=name)


def test_the_step_compiles_for_the_stream_it_will_get(micro_run, drawn):
    planned = micro_run.abstract_batch(batch_sharding(make_mesh(micro_run.mesh, jax.devices()[:1])))
    for name, leaf in named_leaves(drawn).items():
        shape = named_leaves(planned)[name]
        assert (leaf.shape, leaf.dtype, leaf.sharding) == (shape.shape, shape.dtype, shape.sharding), name


def test_nothing_in_the_step_calls_back_to_the_host(micro_run):
    mesh = make_mesh(micro_run.mesh, jax.devices()[:1])
    lowered = lower_train_step(micro_run, make_blueprint(micro_run, mesh), mesh)
    assert "callback" not in lowered.as_text()
