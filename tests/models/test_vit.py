"""The plain ViT as a backbone: maps and sequences, class token, positions, taps, and what its config refuses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn, normal
from flax import nnx

from samjax.core.errors import UserError
from samjax.core.tree import named_leaves
from samjax.models.vit.blocks import BlocksConfig
from samjax.models.vit.vit import Positions, Vit, VitConfig
from samjax.nn.init import Buffer
from samjax.nn.interpolate import Method, interpolate
from samjax.nn.rngs import initial_rngs
from samjax.nn.sin_cos import sin_cos_table
from samjax.nn.stack import layer

GRID = (3, 4)
PLAIN = VitConfig(patch=4, width=16, depth=4, heads=2)
WINDOWED = dataclasses.replace(PLAIN, window=2, depth=6, global_every=3, relative_positions=True)
IMAGE = normal(2, 12, 16, 3)


def make(config: VitConfig, seed: int = 0) -> Vit:
    return drawn(lambda: config.make(grid=GRID, dtype=jnp.dtype("float32"), rngs=initial_rngs(0)), seed)


def parameters(config: VitConfig) -> dict[str, nnx.Variable]:
    vit = nnx.eval_shape(lambda: config.make(grid=GRID, dtype=jnp.dtype("float32"), rngs=initial_rngs(0)))
    return named_leaves(nnx.split(vit)[1], is_leaf=lambda leaf: isinstance(leaf, nnx.Variable))


features = jax.jit(lambda vit, image: vit.features(image))
attend = jax.jit(lambda vit, tokens: vit.attend(tokens))


def by_hand(vit: Vit, tokens) -> list[jax.Array]:
    """Return the tokens after each block, applied in a Python loop."""
    after = []
    for group in range(vit.config.groups):
        stacked = layer(vit.groups, group)
        windowed = range(vit.config.global_every - 1)
        for block in (*(layer(stacked.windowed, index) for index in windowed), stacked.full):
            tokens = block(tokens, jnp.zeros(()), None)
            after.append(tokens)
    return after


def test_blocks_without_windows_are_one_stack():
    """No empty arrays in the checkpoint where no block is windowed."""
    names = parameters(PLAIN)
    assert any("groups/full/" in name for name in names)
    assert not any("windowed" in name or name.endswith("_positions") for name in names)
    assert all(leaf.size for leaf in jax.tree.leaves(names))


@pytest.mark.parametrize("config", [PLAIN, WINDOWED], ids=["global", "windowed"])
@pytest.mark.parametrize("taps", [(), (0,), (1, 2), (0, 1, 2, 3)], ids=str)
def test_taps_are_the_maps_after_those_blocks(config, taps):
    """Also inside a group; and to ask for them changes nothing else."""
    vit = make(dataclasses.replace(config, taps=taps))
    expected = by_hand(vit, vit.embed(IMAGE))
    found = features(vit, IMAGE)
    assert len(found.taps) == len(taps)
    for tap, ours in zip(taps, found.taps, strict=True):
        np.testing.assert_allclose(ours, expected[tap], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(found.map, vit.norm(expected[-1]), rtol=1e-5, atol=1e-5)


def test_gradients_flow_through_taps():
    """A loss on the tap of the first block reaches that block and none after it."""
    vit = make(dataclasses.replace(PLAIN, taps=(0,)))
    graph, variables = nnx.split(vit)
    gradient = jax.jit(jax.grad(lambda leaves: (nnx.merge(graph, leaves).features(IMAGE).taps[0] ** 2).mean()))(
        variables
    )
    kernel = np.abs(nnx.to_pure_dict(gradient)["groups"]["full"]["mlp"]["up"]["kernel"]).max((1, 2))
    assert kernel[0] > 0
    assert not kernel[1:].any()


@pytest.mark.parametrize("class_token", [False, True])
def test_a_sequence_of_all_patches_is_the_map(class_token):
    """In any order: a patch knows its place by its position alone."""
    vit = make(dataclasses.replace(PLAIN, class_token=class_token))
    expected = features(vit, IMAGE)
    order = np.random.default_rng(0).permutation(12)
    tokens, _ = attend(vit, vit.embed(IMAGE).reshape(2, 12, 16)[:, order])
    if class_token:
        np.testing.assert_allclose(tokens[:, 0], expected.class_token, rtol=1e-4, atol=1e-5)
        tokens = tokens[:, 1:]
    np.testing.assert_allclose(tokens, expected.map.reshape(2, 12, 16)[:, order], rtol=1e-4, atol=1e-5)


def test_a_sequence_may_be_some_of_the_patches():
    """Those that are not given take no part."""
    vit = make(dataclasses.replace(PLAIN, class_token=True))
    kept = vit.embed(IMAGE).reshape(2, 12, 16)[:, [7, 2, 5]]
    tokens, _ = attend(vit, kept)
    first = jnp.broadcast_to(vit.class_token[...], (2, 1, 16))
    expected = vit.norm(by_hand(vit, jnp.concatenate([first, kept], axis=1))[-1])
    assert tokens.shape == (2, 4, 16)
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-5)


def test_the_class_token_and_its_taps_leave_the_map_in_place():
    vit = make(dataclasses.replace(PLAIN, class_token=True, taps=(1, 3)))
    found = features(vit, IMAGE)
    assert found.class_token.shape == (2, 16)
    assert [part.shape for part in (found.map, *found.taps)] == [(2, *GRID, 16)] * 3
    np.testing.assert_allclose(vit.norm(found.taps[1]), found.map, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(vit.norm(found.tap_tokens[1]), found.class_token, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("distillation_token", [False, True])
def test_learned_tokens_may_have_positions(distillation_token):
    """The first of the table, as in timm's: the same as tokens that are the sums, and a table without those rows."""
    config = dataclasses.replace(PLAIN, class_token=True, distillation_token=distillation_token, taps=(1,))
    whole, apart = make(dataclasses.replace(config, class_position=True)), make(config)
    assert whole.position.shape == (12 + config.extra_tokens, 16)
    variables = nnx.to_pure_dict(nnx.split(whole)[1])
    for row, name in enumerate(("class_token", "distillation_token")[: config.extra_tokens]):
        variables[name] = variables[name] + whole.position[row]
    variables["position"] = whole.position[config.extra_tokens :].reshape(*GRID, -1)
    apart = nnx.merge(nnx.split(apart)[0], variables)
    for ours, expected in zip(*(jax.tree.leaves(features(vit, IMAGE)) for vit in (whole, apart)), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


def test_a_second_token_attends_after_the_first():
    vit = make(dataclasses.replace(PLAIN, class_token=True, distillation_token=True))
    tokens, _ = attend(vit, vit.embed(IMAGE).reshape(2, 12, 16))
    assert tokens.shape == (2, 14, 16)
    np.testing.assert_allclose(tokens[:, 2:].reshape(2, *GRID, 16), features(vit, IMAGE).map, rtol=1e-4, atol=1e-5)
    first = jnp.broadcast_to(jnp.stack([vit.class_token[...], vit.distillation_token[...]]), (2, 2, 16))
    kept = vit.embed(IMAGE).reshape(2, 12, 16)
    expected = vit.norm(by_hand(vit, jnp.concatenate([first, kept], axis=1))[-1])
    np.testing.assert_allclose(tokens, expected, rtol=1e-4, atol=1e-5)


def test_fixed_positions_are_columns_then_rows():
    """In float64 from the paper's words; a table with rows first is another model than MAE's weights."""
    table = sin_cos_table((3, 5), 8)
    assert table.shape == (3, 5, 8)
    row, column = 2, 4
    angles = np.array([1.0, 0.01])  # 10000^0 and 10000^(-1/2)
    expected = [f(place * angles) for place in (column, row) for f in (np.sin, np.cos)]
    np.testing.assert_allclose(table[row, column], np.concatenate(expected), atol=1e-7)


@pytest.mark.parametrize("positions", Positions)
def test_fixed_positions_are_a_buffer(positions):
    """Saved with the model, out of reach of the optimiser."""
    fixed = positions is Positions.SIN_COS
    assert type(parameters(dataclasses.replace(PLAIN, positions=positions))["position"]) is (
        Buffer if fixed else nnx.Param
    )
    if fixed:
        vit = dataclasses.replace(PLAIN, positions=positions).make(
            grid=GRID, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0)
        )
        np.testing.assert_array_equal(vit.position[...], sin_cos_table(GRID, 16))


@pytest.mark.parametrize(
    ("change", "name"), [({"patch_bias": False}, "patch_embed/bias"), ({"final_norm": False}, "norm/scale")]
)
def test_parts_that_may_be_missing(change, name):
    assert name in parameters(PLAIN)
    without = dataclasses.replace(PLAIN, **change)
    assert name not in parameters(without)
    assert np.isfinite(features(make(without), IMAGE).map).all()


def test_epsilon_is_that_of_every_norm():
    vit = nnx.eval_shape(
        lambda: dataclasses.replace(WINDOWED, epsilon=1e-3).make(
            grid=GRID, dtype=jnp.dtype("float32"), rngs=nnx.Rngs(0)
        )
    )
    norms = [node.epsilon for _, node in nnx.iter_modules(vit) if isinstance(node, nnx.LayerNorm)]
    assert norms == [1e-3] * 5  # two in either kind of block, and the last


def test_layers_are_numbered_by_block():
    assert WINDOWED.layer_ids("encoder") == (
        ("encoder/patch_embed/*", 0),
        ("encoder/position*", 0),
        ("encoder/*_token", 0),
        ("encoder/groups/windowed/*", ((1, 2), (4, 5))),
        ("encoder/groups/full/*", (3, 6)),
    )
    assert PLAIN.layer_ids("encoder")[-1] == ("encoder/groups/full/*", (1, 2, 3, 4))
    assert len(PLAIN.layer_ids("encoder")) == 4


@pytest.mark.parametrize("class_position", [False, True])
def test_positions_of_another_size_are_resized(class_position):
    """Only where the config says how; the class token's own stays as it is."""
    config = dataclasses.replace(PLAIN, class_token=True, class_position=class_position)
    image = normal(2, 20, 24, 3)
    with pytest.raises(ValueError, match="Incompatible shapes"):
        make(config).embed(image)
    vit = make(dataclasses.replace(config, position_resize=Method.BILINEAR))
    table = vit.position[1:].reshape(*GRID, -1) if class_position else vit.position[...]
    expected = vit.patch_embed(image) + interpolate(table[None], (5, 6))
    np.testing.assert_allclose(vit.embed(image), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(vit.embed(IMAGE), make(config).embed(IMAGE))


def test_patches_may_be_of_a_map():
    """A token for each pixel of another network's map, such as a hybrid's."""
    config = dataclasses.replace(PLAIN, patch=1)
    vit = drawn(lambda: Vit(config, grid=GRID, inputs=5, dtype=jnp.dtype("float32"), rngs=initial_rngs(0)), 0)
    pixels = normal(2, *GRID, 5)
    expected = pixels @ vit.patch_embed.kernel[0, 0] + vit.patch_embed.bias[...] + vit.position[...]
    np.testing.assert_allclose(vit.embed(pixels), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("make_config", "message"),
    [
        (lambda: BlocksConfig(width=10, heads=4), "blocks.width is 10; .* multiple of 4"),
        (lambda: VitConfig(width=10, heads=4), "model.encoder.width is 10; .* multiple of 4"),
        (lambda: VitConfig(depth=5, global_every=2), "model.encoder.depth is 5; .* multiple of 2"),
        (lambda: VitConfig(width=6, heads=2, positions=Positions.SIN_COS), "width is 6; .* multiple of 4"),
        (lambda: VitConfig(class_token=True, relative_positions=True), "class_token is True, but .* no place on a map"),
        (lambda: VitConfig(class_token=True, global_every=2), "class_token is True, but .* no place on a map"),
        (lambda: VitConfig(distillation_token=True), "distillation_token is True; it needs class_token True"),
        (lambda: VitConfig(class_position=True), "class_position is True; it needs class_token True"),
        (lambda: VitConfig(taps=(3, 12)), r"taps are \(3, 12\); give rising block numbers below the depth, 12"),
        (lambda: VitConfig(taps=(3, 3)), r"taps are \(3, 3\); give rising"),
        (lambda: VitConfig(epsilon=0.0), "model.encoder.epsilon is 0.0; it must be above 0"),
    ],
)
def test_bad_configs_are_refused(make_config, message):
    with pytest.raises(UserError, match=message):
        make_config()
