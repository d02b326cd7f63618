"""Schedule, layer-wise decay and weight decay of the recipe."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from samjax.core.tree import named_leaves
from samjax.models.sam.config import SamConfig
from samjax.models.sam.sam import abstract_model
from samjax.optim.build import OptimConfig, decay_mask, make_optimizer
from samjax.optim.layer_decay import Depth, layer_ids, scale_by_layer
from samjax.optim.schedule import ScheduleConfig, learning_rate


@pytest.fixture(scope="module")
def vit_b():
    return nnx.to_pure_dict(abstract_model(SamConfig.vit_b())[1])


VIT_B_DEPTH = Depth(groups=4, global_every=3)


def test_the_rate_warms_up_holds_and_drops_twice():
    rate = learning_rate(ScheduleConfig())
    for update, expected in [
        (0, 8e-4 / 250),
        (124, 4e-4),
        (249, 8e-4),
        (250, 8e-4),
        (59_999, 8e-4),
        (60_001, 8e-5),
        (86_665, 8e-5),
        (86_667, 8e-6),
        (89_999, 8e-6),
    ]:
        assert float(rate(update)) == pytest.approx(expected, rel=1e-5), update


def test_layer_ids_follow_the_depth_through_the_stacks(vit_b):
    ids = named_leaves(layer_ids(VIT_B_DEPTH, vit_b))
    assert int(ids["image_encoder/patch_embed/kernel"]) == int(ids["image_encoder/position"]) == 0
    windowed = ids["image_encoder/groups/windowed/mlp/up/kernel"].reshape(4, 2)
    full = ids["image_encoder/groups/full/attention/row_positions"].reshape(4)
    np.testing.assert_array_equal(windowed, [[1, 2], [4, 5], [7, 8], [10, 11]])
    np.testing.assert_array_equal(full, [3, 6, 9, 12])
    outside = {name: value for name, value in ids.items() if "groups" not in name and "position" not in name}
    assert {int(v) for n, v in outside.items() if not n.startswith("image_encoder/patch_embed")} == {13}
    assert int(ids["image_encoder/neck/conv1/kernel"]) == 13


def test_an_update_is_scaled_by_rate_to_the_layers_above(vit_b):
    updates = jax.tree.map(lambda leaf: jnp.ones((*leaf.shape[:2], *(1,) * (len(leaf.shape) - 2))), vit_b)
    scaled = jax.jit(lambda updates: scale_by_layer(0.8, VIT_B_DEPTH).update(updates, None)[0])(updates)
    kernel = named_leaves(scaled)["image_encoder/groups/windowed/mlp/up/kernel"]
    np.testing.assert_allclose(kernel[2, 1].ravel(), 0.8 ** (13 - 8), rtol=1e-6)
    np.testing.assert_allclose(named_leaves(scaled)["mask_decoder/iou_token"], 1.0)


def test_biases_norms_and_position_tables_are_not_decayed(vit_b):
    rules = named_leaves(decay_mask(vit_b))
    exempt = {name for name, applies in rules.items() if not applies}
    for name in rules:
        expected = name.endswith(("bias", "scale")) or "position" in name
        assert (name in exempt) == expected, name
    assert "image_encoder/position" in exempt
    assert "image_encoder/groups/full/attention/row_positions" in exempt
    assert "mask_decoder/mask_tokens" not in exempt


def test_the_gradient_is_clipped_by_its_global_norm():
    """Adam forgets the scale of a constant gradient, so look at the moment it stores."""
    params = {"mask_decoder": {"kernel": jnp.zeros((3, 4))}}
    gradients = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 10.0), params)
    for clip, norm in [(1.0, 1.0), (0.0, 10 * 12**0.5)]:
        optimizer = make_optimizer(OptimConfig(clip_norm=clip, beta1=0.0), VIT_B_DEPTH)
        _, state = optimizer.update(gradients, optimizer.init(params), params)
        moment = next(leaf for name, leaf in named_leaves(state).items() if "mu" in name)
        assert float(jnp.linalg.norm(moment)) == pytest.approx(norm, rel=1e-5)
