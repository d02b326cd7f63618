"""The state of a run, before and after it exists."""

import jax
import numpy as np
import pytest
from etils import epath

from samjax.checkpoint.weights import Weights
from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.models.sam.sam import SamConfig
from samjax.parallel.mesh import MeshConfig, make_mesh
from samjax.tasks.promptable import PromptableTraining
from samjax.training.state import begin_with, check_weights, init_state, make_blueprint


def run_of(model):
    return PromptableTraining(model=model, data=MaskDataConfig(source=""))


def test_vit_h_is_planned_without_allocating_it():
    blueprint = make_blueprint(run_of(SamConfig.vit_h()), make_mesh(MeshConfig()))
    sizes = [leaf.size for leaf in jax.tree.leaves(blueprint.shapes.params)]
    assert sum(sizes) == 641_090_608
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in jax.tree.leaves(blueprint.shapes))


def test_moments_are_split_like_their_parameters():
    blueprint = make_blueprint(run_of(SamConfig.tiny()), make_mesh(MeshConfig(data=1, fsdp=4, tensor=2)))
    params = named_leaves(blueprint.shardings.params)
    moments = dict(named_leaves(blueprint.shardings.opt_state).items())
    for name, sharding in params.items():
        for moment in ("mu", "nu"):
            found = [value for key, value in moments.items() if f"{moment}/{name}" in key]
            assert found == [sharding], (moment, name)
    split = [name for name, sharding in params.items() if any(sharding.spec)]
    assert "image_encoder/groups/windowed/mlp/up/kernel" in split


def test_the_layers_of_a_stack_start_different(micro):
    blueprint = make_blueprint(run_of(micro), make_mesh(MeshConfig(), jax.devices()[:1]))
    state = init_state(blueprint, run_of(micro), jax.random.key(0))
    heads = named_leaves(state.params)["mask_decoder/hypernetworks/layer1/kernel"]
    assert not np.allclose(heads[0], heads[1])


@pytest.fixture(scope="module")
def split_state(micro):
    """A state over two devices that share its parameters, and its plan."""
    mesh = make_mesh(MeshConfig(data=1, fsdp=2), jax.devices()[:2])
    blueprint = make_blueprint(run_of(micro), mesh)
    return blueprint, init_state(blueprint, run_of(micro), jax.random.key(0))


def other_weights(state, *rooms: str) -> Weights:
    """Return arrays like the state's `rooms`, each element one more."""
    more = {name: jax.tree.map(lambda leaf: np.asarray(leaf) + 1, state.params[name]) for name in rooms}
    buffers = jax.tree.map(lambda leaf: np.asarray(leaf) + 1, state.buffers) if "prompt_encoder" in rooms else {}
    return Weights(params=more, buffers=buffers, config={}, path=epath.Path("theirs"))


def test_a_run_begins_with_what_is_there_and_the_rest_fresh(split_state):
    blueprint, state = split_state
    begun, said = begin_with(state, other_weights(state, "image_encoder"), blueprint.shardings)
    for name, leaf in named_leaves(begun.params).items():
        before = named_leaves(state.params)[name]
        np.testing.assert_array_equal(leaf, before + name.startswith("image_encoder/"), err_msg=name)
        assert leaf.sharding == before.sharding, name
    np.testing.assert_array_equal(*(jax.tree.leaves(tree.buffers)[0] for tree in (begun, state)))
    assert any(len(leaf.sharding.device_set) == 2 and not leaf.is_fully_replicated for leaf in jax.tree.leaves(begun))
    assert "arrays begin as in theirs; fresh are mask_decoder/hypernetworks, mask_decoder/iou_head" in said


def test_a_run_may_begin_with_all_of_it(split_state):
    blueprint, state = split_state
    rooms = ("image_encoder", "prompt_encoder", "mask_decoder")
    begun, said = begin_with(state, other_weights(state, *rooms), blueprint.shardings)
    for part in ("params", "buffers"):
        for name, leaf in named_leaves(getattr(begun, part)).items():
            np.testing.assert_array_equal(leaf, named_leaves(getattr(state, part))[name] + 1, err_msg=name)
    assert "fresh" not in said


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda tree: tree.update(colour=np.zeros(3)), r"first params/colour, \(3,\), expected no such array"),
        (
            lambda tree: tree["image_encoder"].update(position=np.zeros((2, 2, 32))),
            r"1 of its \d+ arrays do not fit, first params/image_encoder/position, \(2, 2, 32\), expected \(4, 4, 32\)",
        ),
    ],
)
def test_a_run_does_not_begin_with_another_model(spoil, sentence, split_state, micro):
    blueprint, state = split_state
    weights = other_weights(state, "image_encoder")
    spoil(weights.params)
    with pytest.raises(UserError, match=sentence):
        check_weights(weights, run_of(micro), blueprint.shapes)
