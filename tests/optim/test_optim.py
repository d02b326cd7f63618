"""Schedule, layer-wise decay and weight decay of the recipe."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from samjax.cli.main import main
from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.data.masks.mask_data import MaskDataConfig
from samjax.models.sam.sam import SamConfig
from samjax.nn.structure import abstract_model
from samjax.optim.build import OptimConfig, decay_mask, make_optimizer
from samjax.optim.layer_decay import layer_ids, scale_by_layer
from samjax.optim.schedule import ConstantConfig, CosineConfig, DropsConfig, PolynomialConfig
from samjax.tasks.promptable import PromptableTraining


@pytest.fixture(scope="module")
def vit_b():
    return nnx.to_pure_dict(abstract_model(SamConfig.vit_b().make)[1])


VIT_B_LAYERS = PromptableTraining(model=SamConfig.vit_b(), data=MaskDataConfig(source="")).layer_ids()


def test_the_rate_warms_up_holds_and_drops_twice():
    rate = DropsConfig().learning_rate(90_000)
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


def test_the_cosine_warms_up_and_ends_at_its_share():
    """Half a cosine over what comes after the warm-up, as MAE's schedule counts it."""
    rate = CosineConfig(peak_lr=2.0, warmup_steps=10, end_share=0.1).learning_rate(110)
    for update in (0, 4, 9):
        assert float(rate(update)) == pytest.approx(2.0 * (update + 1) / 10, rel=1e-6)
    for update in (10, 35, 60, 85, 110):
        expected = 2.0 * (0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * (update - 10) / 100)))
        assert float(rate(update)) == pytest.approx(expected, rel=1e-5), update


def test_the_polynomial_falls_over_the_whole_run():
    rate = PolynomialConfig(peak_lr=1.0, warmup_steps=0, power=0.9, end_lr=0.01).learning_rate(200)
    for update in (0, 50, 199, 200):
        assert float(rate(update)) == pytest.approx(0.99 * (1 - update / 200) ** 0.9 + 0.01, rel=1e-5), update


def test_the_constant_rate_stays_after_the_warm_up():
    rate = ConstantConfig(peak_lr=0.5, warmup_steps=4).learning_rate(9)
    assert [float(rate(update)) for update in (0, 3, 4, 8)] == pytest.approx([0.125, 0.5, 0.5, 0.5])


def test_ids_of_a_stack_must_fit_it():
    with pytest.raises(ValueError, match=r"layer ids of shape \(3,\) for blocks/kernel"):
        layer_ids([("blocks/*", (1, 2, 3))], {"blocks": {"kernel": jnp.zeros((2, 5))}})


def test_layer_ids_follow_the_depth_through_the_stacks(vit_b):
    ids = named_leaves(layer_ids(VIT_B_LAYERS, vit_b))
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
    scaled = jax.jit(lambda updates: scale_by_layer(0.8, VIT_B_LAYERS).update(updates, None)[0])(updates)
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
        optimizer = make_optimizer(OptimConfig(clip_norm=clip, beta1=0.0), VIT_B_LAYERS, steps=9)
        _, state = optimizer.update(gradients, optimizer.init(params), params)
        moment = next(leaf for name, leaf in named_leaves(state).items() if "mu" in name)
        assert float(jnp.linalg.norm(moment)) == pytest.approx(norm, rel=1e-5)


def test_a_rate_by_pattern_multiplies_the_layers_rate():
    """The first pattern that matches decides; weight decay is part of the update."""
    params = {"neck": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "head": {"kernel": jnp.ones((2, 2))}}
    gradients = jax.tree.map(lambda leaf: 0.3 * leaf, params)
    layers = (("neck/*", 0), ("*", 1))

    def updates(**fields):
        config = OptimConfig(schedule=ConstantConfig(peak_lr=0.5, warmup_steps=0), layer_decay=0.8, **fields)
        optimizer = make_optimizer(config, layers, steps=9)
        return named_leaves(optimizer.update(gradients, optimizer.init(params), params)[0])

    plain, scaled = updates(), updates(rates=("neck/bias=3", "neck/**=0.25", "**/bias=7"))
    for name, multiplier in {"neck/kernel": 0.25, "neck/bias": 3, "head/kernel": 1}.items():
        np.testing.assert_allclose(scaled[name], multiplier * plain[name], rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(
    ("rate", "sentence"),
    [
        ("neck/**", "is not a pattern and a number"),
        ("neck/**=fast", "is not a pattern and a number"),
        ("=0.1", "is not a pattern and a number"),
        ("neck/**=0", "freeze parameters with --trainable"),
        ("neck/**=-1", "give a finite number above 0"),
        ("neck/**=nan", "give a finite number above 0"),
    ],
)
def test_bad_rates(rate, sentence):
    with pytest.raises(UserError, match=sentence):
        OptimConfig(rates=(rate,))


def test_a_rate_must_match_a_trainable_parameter(capsys, tmp_path):
    run = ["train", "experiments/sam/smoke.py", "--batch-size", "8", "--workdir", str(tmp_path / "w"), "--dry-run"]
    assert main([*run, "--trainable", "mask_decoder/**", "--optim.rates", "image_encoder/**=0.1"]) == 2
    assert "optim.rates: 'image_encoder/**' matches no parameter; there are mask_decoder/**" in capsys.readouterr().err
