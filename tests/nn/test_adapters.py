"""Low-rank adapters: what they add to a kernel, whatever its axes, and which kernels there are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.nn.adapters import AdaptersConfig, init_adapters, merge_adapters, plan_adapters
from samjax.nn.stack import stack


class Layers(nnx.Module):
    """Every kind of kernel that models have: into heads, out of heads, plain, and a convolution's."""

    def __init__(self, *, rngs: nnx.Rngs):
        axes = {"axes": ("embed", None, "heads", None)}
        self.qkv = nnx.LinearGeneral(6, (3, 2, 4), kernel_metadata=axes, rngs=rngs)
        self.out = nnx.LinearGeneral((2, 4), 5, axis=(-2, -1), rngs=rngs)
        self.up = nnx.Linear(6, 7, kernel_metadata={"axes": ("embed", "mlp")}, rngs=rngs)
        self.convolution = nnx.Conv(6, 6, (3, 3), rngs=rngs)


class Stacked(nnx.Module):
    """The same, two layers deep, and once alone."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.deep = stack(lambda rngs: Layers(rngs=rngs), 2, rngs=rngs)
        self.alone = Layers(rngs=rngs)


CONFIG = AdaptersConfig(rank=3, alpha=6.0, kernels=("**",))


@pytest.fixture(scope="module")
def made():
    """The module's structure, parameters and buffers, and drawn adapters, B too."""
    graph, params, rest = nnx.split(Stacked(rngs=nnx.Rngs(0)), nnx.Param, ...)
    adapters = init_adapters(plan_adapters(CONFIG, Stacked), jax.random.key(1))
    drawn = jax.tree.map(lambda leaf: leaf + 0.1, adapters)
    return graph, nnx.to_pure_dict(params), rest, adapters, drawn


def test_dense_kernels_alone_have_adapters_of_their_inputs_and_outputs():
    plan = plan_adapters(CONFIG, Stacked)
    shapes = {name: leaf.shape for name, leaf in named_leaves(plan.shapes).items()}
    expected = {"qkv": (6, 24), "out": (8, 5), "up": (6, 7)}
    for layer, (inputs, outputs) in expected.items():
        assert shapes.pop(f"deep/{layer}/kernel/down") == (2, inputs, 3)
        assert shapes.pop(f"deep/{layer}/kernel/up") == (2, 3, outputs)
        assert shapes.pop(f"alone/{layer}/kernel/down") == (inputs, 3)
        assert shapes.pop(f"alone/{layer}/kernel/up") == (3, outputs)
    assert not shapes
    axes = named_leaves(plan.axes, is_leaf=lambda node: isinstance(node, tuple))
    assert axes["deep/qkv/kernel/down"] == (None, "embed", None)
    assert axes["deep/qkv/kernel/up"] == (None, None, None)
    assert axes["alone/up/kernel/up"] == (None, "mlp")


def test_fresh_adapters_change_no_bit(made):
    _, params, _, adapters, _ = made
    merged = merge_adapters(params, adapters, scale=CONFIG.scale)
    jax.tree.map(np.testing.assert_array_equal, merged, params)
    assert any(leaf.any() for name, leaf in named_leaves(adapters).items() if name.endswith("down"))


def test_merged_kernels_compute_what_adapters_beside_them_would(made):
    graph, params, rest, _, drawn = made
    plain, adapted = (
        nnx.merge(graph, one, rest).alone for one in (params, merge_adapters(params, drawn, scale=CONFIG.scale))
    )
    inputs = {name: jax.random.normal(jax.random.key(2), shape) for name, shape in
              {"qkv": (9, 6), "out": (9, 2, 4), "up": (9, 6)}.items()}  # fmt: skip
    for name, x in inputs.items():
        adapter = drawn["alone"][name]["kernel"]
        beside = 2.0 * (x.reshape(9, -1) @ adapter["down"]) @ adapter["up"]
        expected = getattr(plain, name)(x)
        found = getattr(adapted, name)(x)
        np.testing.assert_allclose(found, expected + beside.reshape(expected.shape), rtol=1e-6, atol=2e-6)
        assert np.abs(found - expected).max() > 0.1


def test_layers_of_a_stack_have_their_own(made):
    _, params, _, _, drawn = made
    merged = merge_adapters(params, drawn, scale=CONFIG.scale)
    for layer in range(2):
        one = jax.tree.map(lambda leaf, layer=layer: leaf[layer], (params["deep"], drawn["deep"]))
        alone = merge_adapters(*one, scale=CONFIG.scale)
        jax.tree.map(
            lambda leaf, own, layer=layer: np.testing.assert_allclose(leaf[layer], own, rtol=1e-6, atol=1e-6),
            merged["deep"],
            alone,
        )


def test_on_the_host_they_are_merged_alike(made):
    _, params, _, _, drawn = made
    on_device = merge_adapters(params, drawn, scale=CONFIG.scale)
    on_host = merge_adapters(*jax.device_get((params, drawn)), scale=CONFIG.scale)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(on_host))
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6), on_host, on_device)


def test_a_kernels_draw_does_not_depend_on_the_others(made):
    _, _, _, adapters, _ = made
    one = plan_adapters(AdaptersConfig(rank=3, kernels=("alone/up/kernel",)), Stacked)
    np.testing.assert_array_equal(
        init_adapters(one, jax.random.key(1))["alone"]["up"]["kernel"]["down"],
        adapters["alone"]["up"]["kernel"]["down"],
    )


def test_rank_0_makes_none():
    plan = plan_adapters(AdaptersConfig(kernels=("nowhere",)), Stacked)
    assert not plan.shapes
    assert not plan.kernels
    params = {"a": {"kernel": jnp.ones(2)}}
    assert merge_adapters(params, init_adapters(plan, jax.random.key(0)), scale=0.0) == params


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kernels": ("**/neck/**",)}, "adapters.kernels: .* matches no parameter"),
        (
            {"kernels": ("**/up/*", "**/bias")},
            r"'\*\*/bias' matches no kernel of a dense layer, only such as",
        ),
        ({"kernels": ("alone/convolution/kernel",)}, "matches no kernel of a dense layer"),
        ({"kernels": ()}, "adapters.kernels is empty"),
        ({"rank": -1}, "adapters.rank is -1; it must be at least 0"),
        ({"alpha": 0.0}, "adapters.alpha is 0.0; it must be above 0"),
    ],
)
def test_bad_adapters(fields, sentence):
    with pytest.raises(UserError, match=sentence):
        plan_adapters(AdaptersConfig(**{"rank": 2, **fields}), Stacked)
