"""The state of a run, before and after it exists."""

import jax
import numpy as np

from samjax.core.tree import named_leaves
from samjax.models.sam.config import SamConfig
from samjax.optim.build import OptimConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.train.state import init_state, make_blueprint


def test_vit_h_is_planned_without_allocating_it():
    blueprint = make_blueprint(SamConfig.vit_h(), OptimConfig(), make_mesh(MeshConfig()))
    sizes = [leaf.size for leaf in jax.tree.leaves(blueprint.shapes.params)]
    assert sum(sizes) == 641_090_608
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(blueprint.shapes))


def test_moments_are_split_like_their_parameters():
    blueprint = make_blueprint(SamConfig.tiny(), OptimConfig(), make_mesh(MeshConfig(data=1, fsdp=4, tensor=2)))
    params = named_leaves(blueprint.shardings.params)
    moments = dict(named_leaves(blueprint.shardings.opt_state).items())
    for name, sharding in params.items():
        for moment in ("mu", "nu"):
            found = [value for key, value in moments.items() if f"{moment}/{name}" in key]
            assert found == [sharding], (moment, name)
    split = [name for name, sharding in params.items() if any(sharding.spec)]
    assert "image_encoder/groups/windowed/mlp/up/kernel" in split


def test_the_layers_of_a_stack_start_different(micro):
    blueprint = make_blueprint(micro, OptimConfig(), make_mesh(MeshConfig(), jax.devices()[:1]))
    state = init_state(blueprint, micro, jax.random.key(0))
    heads = named_leaves(state.params)["mask_decoder/hypernetworks/layer1/kernel"]
    assert not np.allclose(heads[0], heads[1])
