"""The masked autoencoder: what is hidden, what is predicted, and what is not part of the loss."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn, normal
from flax import nnx

from samjax.core.errors import UserError
from samjax.core.tree import first_match, named_leaves
from samjax.models.mae import Mae, MaeConfig, MaeDecoderConfig
from samjax.models.mae_flops import mae_flops
from samjax.models.sam.image_encoder import ImageEncoder, ImageEncoderConfig
from samjax.models.traced_flops import traced_flops
from samjax.models.vit.vit import Positions, Stem, VitConfig
from samjax.nn.pixels import normalise
from samjax.nn.rngs import initial_rngs
from samjax.nn.stack import Remat
from samjax.nn.structure import abstract_model
from samjax.optim.build import decay_mask

TINY = MaeConfig.tiny(image_size=(32, 48), visible=6)
IMAGE = normal(2, 32, 48, 3)
NOISE = jnp.asarray(np.random.default_rng(1).random((2, TINY.tokens)), jnp.float32)

reconstruct = jax.jit(lambda model, image, noise: model(image, noise))


def make(config: MaeConfig = TINY) -> Mae:
    return drawn(lambda: config.make(rngs=initial_rngs(0)))


def parameters(config: MaeConfig) -> dict[str, jax.ShapeDtypeStruct]:
    return named_leaves(nnx.to_pure_dict(abstract_model(config.make)[1]))


@pytest.mark.parametrize(
    ("config", "giga"),
    [(MaeConfig.vit_b(), 58.7), (MaeConfig.vit_l(), 124.5), (MaeConfig.vit_h(), 291.4)],
    ids=["vit_b", "vit_l", "vit_h"],
)
def test_the_papers_models_cost_a_photo(config, giga):
    assert mae_flops(config).training / 1e9 == pytest.approx(giga, abs=0.05)
    assert config.visible == config.tokens // 4


def test_flops_are_counted_as_they_are_traced():
    config = dataclasses.replace(
        TINY,
        encoder=dataclasses.replace(TINY.encoder, depth=1),
        decoder=MaeDecoderConfig(width=32, depth=1, heads=2),
    )
    model = nnx.eval_shape(lambda: config.make(rngs=initial_rngs(0)))
    traced = traced_flops(lambda model, image, noise: model(image, noise).predictions, model, IMAGE[:1], NOISE[:1])
    assert traced == mae_flops(config).forward


def test_the_quietest_patches_are_seen():
    """As many as the config says, whatever the noise."""
    hidden = np.asarray(reconstruct(make(), IMAGE, NOISE).hidden)
    assert (hidden.sum(axis=1) == TINY.tokens - TINY.visible).all()
    for noise, row in zip(np.asarray(NOISE), hidden, strict=True):
        assert noise[~row].max() < noise[row].min()


def test_hidden_patches_are_not_seen():
    """To change one changes no prediction; to change a visible one changes all of that photo's."""
    model = make()
    before = reconstruct(model, IMAGE, NOISE)
    for index in range(TINY.tokens):
        row, column = divmod(index, TINY.grid[1])
        changed = IMAGE.at[0, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].add(1.0)
        after = reconstruct(model, changed, NOISE)
        same = np.asarray(after.predictions == before.predictions).all(axis=-1)
        assert same[1].all()
        assert same[0].all() if before.hidden[0, index] else not same[0].any()


def test_a_patch_is_predicted_at_its_place():
    """Without blocks that mix them, a hidden patch's prediction is the mask token's at that patch's position."""
    model = make()
    for block in (model.decoder.groups.full.attention.out, model.decoder.groups.full.mlp.down):
        block.kernel[...] = jnp.zeros_like(block.kernel[...])
        block.bias[...] = jnp.zeros_like(block.bias[...])
    output, decoder = reconstruct(model, IMAGE, NOISE), model.decoder
    expected = decoder.predict(decoder.norm(decoder.mask_token[...] + decoder.position[...].reshape(TINY.tokens, -1)))
    hidden = np.asarray(output.hidden[0])
    np.testing.assert_allclose(output.predictions[0, hidden], expected[hidden], rtol=1e-4, atol=1e-4)
    assert not np.isclose(output.predictions[0, ~hidden], expected[~hidden], rtol=1e-2).all(axis=1).any()


def test_targets_have_the_unbiased_variance():
    """n - 1: with n, JAX's default, the loss is 1.1e-3 off."""
    patch = np.asarray(IMAGE[1, 8:16, 40:48], np.float64).reshape(-1)  # row, column, channel
    expected = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 1e-6)
    targets = make().targets(IMAGE)
    np.testing.assert_allclose(targets[1, 1 * 6 + 5], expected, atol=1e-5)
    assert np.abs(np.asarray(targets[1, 11]) - expected * np.sqrt(192 / 191)).max() > 1e-3


def test_targets_may_be_the_pixels():
    targets = make(dataclasses.replace(TINY, normalise_targets=False)).targets(IMAGE)
    np.testing.assert_array_equal(targets[1, 11], IMAGE[1, 8:16, 40:48].reshape(-1))


def test_a_flat_patch_is_no_division_by_zero():
    assert not make().targets(jnp.ones((1, 32, 48, 3))).any()


def test_the_loss_is_of_hidden_patches_alone():
    predictions, targets = normal(2, 5, 3), normal(2, 5, 3, seed=1)
    hidden = jnp.array([[True, False, True, True, False], [False, True, False, True, True]])
    error = np.square(np.asarray(predictions - targets, np.float64)).mean(-1)
    loss = Mae.loss(predictions, targets, hidden)
    np.testing.assert_allclose(loss, error[np.asarray(hidden)].mean(), rtol=1e-6)
    seen = jnp.where(hidden[..., None], predictions, 1e6)
    np.testing.assert_array_equal(Mae.loss(seen, targets, hidden), loss)


def test_a_row_without_a_photo_does_not_count():
    """Neither in the sum nor in the mean, nor in the gradient; and with no photo at all the loss is zero."""
    predictions, targets = normal(3, 5, 3), normal(3, 5, 3, seed=1)
    hidden = jnp.ones((3, 5), bool)
    valid = jnp.array([True, False, True])
    loss = Mae.loss(predictions, targets, hidden, valid=valid)
    np.testing.assert_allclose(loss, Mae.loss(predictions[::2], targets[::2], hidden[::2]), rtol=1e-6)
    gradient = jax.grad(lambda predictions: Mae.loss(predictions, targets, hidden, valid=valid))(predictions)
    assert not gradient[1].any()
    assert gradient[0].any()
    assert Mae.loss(predictions, targets, hidden, valid=jnp.zeros(3, bool)) == 0


def test_photos_as_bytes_are_normalised():
    model = make()
    image = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), dtype=np.uint8))
    for apply in (Mae.encode, Mae.targets):
        for ours, expected in zip(
            jax.tree.leaves(apply(model, image)), jax.tree.leaves(apply(model, normalise(image))), strict=True
        ):
            np.testing.assert_array_equal(ours, expected)


def test_nothing_hidden_is_every_patch_seen():
    """`encode` gives what the encoder makes of all patches in any order: it is for what comes after pretraining."""
    model = make()
    features = jax.jit(Mae.encode)(model, IMAGE)
    order = jnp.asarray(np.random.default_rng(2).permutation(TINY.tokens))
    tokens, _ = model.encoder.attend(model.encoder.embed(IMAGE).reshape(2, TINY.tokens, -1)[:, order])
    np.testing.assert_allclose(tokens[:, 0], features.class_token, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tokens[:, 1:], features.map.reshape(2, TINY.tokens, -1)[:, order], rtol=1e-4, atol=1e-5)


def test_weight_decay_is_for_matrices_and_tokens():
    """None on biases and norms; class token and mask token are decayed; positions are no parameters at all."""
    params = nnx.to_pure_dict(abstract_model(TINY.make)[1])
    for name, on in named_leaves(decay_mask(params)).items():
        assert on == name.endswith(("kernel", "class_token", "mask_token")), name
    assert not any("position" in name for name in named_leaves(params))
    buffers = named_leaves(nnx.to_pure_dict(abstract_model(TINY.make)[2]))
    assert sorted(buffers) == ["decoder/position", "encoder/position"]


def test_layers_are_those_of_the_encoder_and_one_more():
    ids = {name: first_match(name, TINY.layer_ids()) for name in parameters(TINY)}
    assert ids["encoder/patch_embed/kernel"] == ids["encoder/class_token"] == 0
    assert ids["encoder/groups/full/mlp/up/kernel"] == (1, 2, 3)
    assert {layer for name, layer in ids.items() if name.startswith("decoder/")} == {4}
    assert ids["encoder/norm/scale"] == 4


def test_epsilon_of_every_norm():
    """1e-6; transformers' default, 1e-12, is 3e-5 off in the pixels."""
    model = nnx.eval_shape(lambda: TINY.make(rngs=initial_rngs(0)))
    norms = [node.epsilon for _, node in nnx.iter_modules(model) if isinstance(node, nnx.LayerNorm)]
    assert norms == [1e-6] * 6


def test_initial_weights():
    """Xavier uniform, the projection to queries, keys and values as one matrix and the patch embedding as a linear."""
    config = MaeConfig.tiny(encoder=VitConfig(patch=8, width=96, depth=3, heads=3, class_token=True))
    params = named_leaves(nnx.to_pure_dict(nnx.split(config.make(rngs=nnx.Rngs(0)), nnx.Param, ...)[1]))
    fans = {
        "encoder/patch_embed/kernel": 3 * 8 * 8 + 96,
        "encoder/groups/full/attention/qkv/kernel": 96 + 3 * 96,
        "encoder/groups/full/attention/out/kernel": 96 + 96,
        "encoder/groups/full/mlp/up/kernel": 96 + 4 * 96,
        "decoder/embed/kernel": 96 + 32,
        "decoder/predict/kernel": 32 + 3 * 8 * 8,
    }
    for name, fan in fans.items():
        bound, values = math.sqrt(6 / fan), np.asarray(params[name])
        assert 0.97 * bound < np.abs(values).max() <= bound, name
        assert values.std() == pytest.approx(bound / math.sqrt(3), rel=0.03), name
    for name, values in params.items():
        if name.endswith("bias"):
            assert not values.any(), name
    for name in ("encoder/class_token", "decoder/mask_token"):
        assert 0.01 < np.asarray(params[name]).std() < 0.03


def test_without_a_class_token_the_encoder_is_sams():
    """With global blocks alone and no relative positions, which are zero before training, token for token."""
    config = dataclasses.replace(TINY, encoder=dataclasses.replace(TINY.encoder, class_token=False, final_norm=False))
    mae = make(config)
    sizes = ImageEncoderConfig(patch=8, width=48, depth=3, heads=3, global_every=1)
    sam = drawn(
        lambda: ImageEncoder(sizes, grid=config.grid, embedding=8, dtype=jnp.dtype("float32"), rngs=initial_rngs(0))
    )
    nnx.update(sam, nnx.state(mae.encoder, nnx.Param))
    sam.position[...] = mae.encoder.position[...]
    offsets = sam.groups.full.attention
    for table in (offsets.row_positions, offsets.column_positions):
        table[...] = jnp.zeros_like(table[...])
    expected = jax.jit(Mae.encode)(mae, IMAGE).map
    np.testing.assert_allclose(jax.jit(lambda sam: sam.features(IMAGE).map)(sam), expected, rtol=1e-5, atol=1e-5)
    assert np.isfinite(reconstruct(mae, IMAGE, NOISE).predictions).all()


def test_bfloat16_predictions_are_float32_and_near():
    exact = reconstruct(make(), IMAGE, NOISE)
    half = reconstruct(make(dataclasses.replace(TINY, dtype="bfloat16")), IMAGE, NOISE)
    assert half.predictions.dtype == jnp.float32
    np.testing.assert_array_equal(half.hidden, exact.hidden)
    difference = half.predictions - exact.predictions
    assert 0 < jnp.linalg.norm(difference) < 0.05 * jnp.linalg.norm(exact.predictions)


@pytest.mark.parametrize("remat", [Remat.DOTS, Remat.FULL])
def test_rematerialisation_is_in_encoder_and_decoder(remat):
    """It keeps less of both for the backward pass; parity has the gradients."""

    def kept(config: MaeConfig) -> int:
        graph, variables = nnx.split(make(config))

        def loss(variables):
            return nnx.merge(graph, variables)(IMAGE, NOISE).predictions.sum()

        pullback = jax.eval_shape(lambda variables: jax.vjp(loss, variables)[1], variables)
        return sum(leaf.size for leaf in jax.tree.leaves(pullback))

    def config(remat: Remat, blocks: int, decoder_blocks: int) -> MaeConfig:
        encoder = dataclasses.replace(TINY.encoder, remat=remat, depth=blocks)
        return dataclasses.replace(
            TINY, encoder=encoder, decoder=MaeDecoderConfig(width=32, depth=decoder_blocks, heads=2)
        )

    for more in ((9, 2), (3, 8)):  # of either, each block costs less to keep
        added = kept(config(remat, *more)) - kept(config(remat, 3, 2))
        assert added < kept(config(Remat.NONE, *more)) - kept(config(Remat.NONE, 3, 2))


@pytest.mark.parametrize(
    ("make_config", "message"),
    [
        (lambda: MaeConfig(visible=196), "visible is 196, but a photo has 196 patches; .* the paper shows 49"),
        (lambda: MaeConfig(visible=0), "model.visible is 0; it must be at least 1"),
        (lambda: MaeConfig(image_size=(224, 230)), "is not a multiple of the patch, 16; use 224 instead of 230"),
        (lambda: MaeConfig(encoder=VitConfig(global_every=2)), "can have no windows and no relative positions"),
        (lambda: MaeConfig(encoder=VitConfig(relative_positions=True)), "can have no windows and no relative"),
        (lambda: MaeConfig(encoder=VitConfig(stem=Stem.CONVOLUTIONS)), "stem must be PATCHES: .* hidden patches"),
        (lambda: MaeConfig(decoder=MaeDecoderConfig(width=500)), "model.decoder.width is 500; .* multiple of 16"),
    ],
)
def test_bad_configs_are_refused(make_config, message):
    with pytest.raises(UserError, match=message):
        make_config()


@pytest.mark.parametrize("config", [MaeConfig.vit_b(), MaeConfig.vit_l(), MaeConfig.vit_h(), MaeConfig.tiny()])
def test_published_models_have_fixed_positions_and_a_class_token(config):
    assert config.encoder.class_token
    assert config.encoder.positions is Positions.SIN_COS
    assert config.encoder.final_norm
    assert config.normalise_targets
