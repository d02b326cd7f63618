"""The whole model: photos in, masks out, in every size, frame and precision a laptop can hold."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn_sam
from flax import nnx

from samjax.core.prompts import MaskOutput, PointLabel, Prompts
from samjax.models.sam.image_side import DensePrompt
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.prompt_encoder import PromptEmbedding
from samjax.models.sam.sam import Sam, SamConfig
from samjax.nn.pixels import PixelStatistics, normalise
from samjax.nn.rngs import initial_rngs


def points(config: SamConfig, images: int = 2, masks: int = 3) -> Prompts:
    generator = np.random.default_rng(0)
    labels = np.broadcast_to([PointLabel.FOREGROUND, PointLabel.NOT_A_POINT], (images, masks, 2))
    return Prompts(
        coords=jnp.asarray(generator.uniform(0, min(config.image_size), (images, masks, 2, 2)), jnp.float32),
        labels=jnp.asarray(labels, jnp.int32),
        valid=jnp.ones((images, masks, 2), bool),
        mask_logits=jnp.asarray(generator.normal(size=(images, masks, *config.logits_size)), jnp.float32),
        has_mask=jnp.asarray(generator.random((images, masks)) < 0.5),
    )


def photos(config: SamConfig, images: int = 2) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).integers(0, 256, (images, *config.image_size, 3), dtype=np.uint8))


@jax.jit
def run(model: Sam, image, valid_size, prompts) -> MaskOutput:
    return model.decode(model.encode(image, valid_size), prompts)


def predict(config: SamConfig, prompts: Prompts) -> MaskOutput:
    valid_size = jnp.array([config.image_size, (config.image_size[0], 50)])
    return run(drawn_sam(config), photos(config), valid_size, prompts)


def test_normalised_photos_have_zeros_beyond_their_edge():
    """Zero after normalisation: a black border would be -2.1 and a grey one a lie."""
    image = jnp.full((2, 4, 6, 3), 200, jnp.uint8).at[1, :, 4:].set(0)
    out = normalise(image, jnp.array([[4, 6], [3, 4]]))
    expected = (200 - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
    np.testing.assert_allclose(out[0], np.broadcast_to(expected, (4, 6, 3)), rtol=1e-6)
    np.testing.assert_allclose(out[1, :3, :4], np.broadcast_to(expected, (3, 4, 3)), rtol=1e-6)
    assert not out[1, 3:].any()
    assert not out[1, :, 4:].any()


def test_photos_may_be_normalised_with_their_own_statistics():
    """So exposure and stain do not matter, nor what lies beyond a photo's edge; an empty photo stays near zero."""
    image = np.random.default_rng(0).integers(0, 60, (3, 20, 30, 3), dtype=np.uint8)
    image[2] = 40
    valid_size = jnp.array([[20, 30], [13, 9], [20, 30]])
    out = np.asarray(normalise(jnp.asarray(image), valid_size, PixelStatistics.PHOTO))
    for one, photo, (height, width) in zip(out, image, np.asarray(valid_size), strict=True):
        inside = photo[:height, :width].astype(np.float64)
        expected = (inside - inside.mean((0, 1))) / np.sqrt(inside.var((0, 1)) + 1)
        np.testing.assert_allclose(one[:height, :width], expected, atol=1e-5)
        assert not one[height:].any()
        assert not one[:, width:].any()
    full = np.asarray(normalise(jnp.asarray(image[:1]), None, PixelStatistics.PHOTO))
    np.testing.assert_allclose(full[0], out[0], atol=1e-5)


@pytest.mark.parametrize("statistics", PixelStatistics)
def test_the_encoder_sees_photos_as_its_config_normalises_them(statistics):
    config = SamConfig.tiny(pixel_statistics=statistics)
    model, image = drawn_sam(config), photos(config) // 4
    valid_size = jnp.array([[128, 100], [90, 128]])
    pixels = normalise(image, valid_size, statistics)
    expected = jax.jit(lambda model, pixels: model.image_encoder(pixels))(model, pixels)
    found = jax.jit(lambda model, image: model.encode(image, valid_size))(model, image)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("statistics", PixelStatistics)
def test_what_lies_in_the_padding_does_not_matter(statistics):
    config = SamConfig.tiny(pixel_statistics=statistics)
    model, image = drawn_sam(config), photos(config)
    valid_size = jnp.array([[128, 100], [90, 128]])
    noisy = image.at[0, :, 100:].set(77).at[1, 90:].set(255)
    encode = jax.jit(lambda model, image: model.encode(image, valid_size))
    np.testing.assert_array_equal(encode(model, image), encode(model, noisy))


@pytest.mark.parametrize(
    "config",
    [SamConfig.tiny(), SamConfig.small(), SamConfig.tiny(image_size=(64, 176)), SamConfig.tiny(image_size=(144, 80))],
    ids=["tiny", "small", "wide", "tall"],
)
def test_sizes_and_frames(config):
    output = predict(config, points(config))
    assert output.logits.shape == (2, 3, 4, *config.logits_size)
    assert output.iou.shape == (2, 3, 4)
    assert np.isfinite(output.logits).all()


def test_bfloat16_masks_are_float32_and_near():
    """The pieces that ask for float32 keep it; the rest costs a few parts in a hundred, as bfloat16 does."""
    config = SamConfig.tiny()
    prompts = points(config)
    exact = predict(config, prompts)
    half = predict(dataclasses.replace(config, dtype="bfloat16"), prompts)
    for ours, expected in [(half.logits, exact.logits), (half.iou, exact.iou)]:
        assert ours.dtype == jnp.float32
        assert np.isfinite(ours).all()
        error = float(jnp.linalg.norm(ours - expected) / jnp.linalg.norm(expected))
        assert 0 < error < 0.05


def test_bfloat16_encoder_computes_in_bfloat16_and_returns_float32():
    config = SamConfig.tiny(dtype="bfloat16")
    model = nnx.eval_shape(lambda: Sam(config, rngs=initial_rngs(0)))
    jaxpr = jax.make_jaxpr(lambda model, image: model.encode(image, jnp.array([[128, 128]])))(
        model, jnp.zeros((1, 128, 128, 3), jnp.uint8)
    )
    assert jaxpr.out_avals[0].dtype == jnp.float32
    assert "bf16[" in str(jaxpr)


def test_the_dense_prompt_is_added_to_the_image():
    """Before the decoder, once: an image with the prompt in it and no prompt is the same."""
    config = SamConfig.tiny()
    decoder, width = drawn_sam(config).mask_decoder, config.embedding
    generator = np.random.default_rng(0)
    image = jnp.asarray(generator.normal(size=(1, 8, 8, width)), jnp.float32)
    dense = jnp.asarray(generator.normal(size=(1, 1, 64, width)), jnp.float32)
    sparse = jnp.asarray(generator.normal(size=(1, 1, 2, width)), jnp.float32)
    positions = jnp.asarray(generator.normal(size=(8, 8, width)), jnp.float32)

    @jax.jit
    def decode(image, dense, positions=positions):
        prompt = DensePrompt(features=dense, kernel=jnp.eye(width), constant=jnp.zeros((1, 1, width)))
        embedding = PromptEmbedding(sparse=sparse, sparse_valid=jnp.ones((1, 1, 2), bool), dense=prompt)
        return decoder(image, embedding, image_positions=positions).every().logits

    expected = decode(image, dense)
    np.testing.assert_allclose(decode(image + dense.reshape(image.shape), jnp.zeros_like(dense)), expected, atol=1e-5)
    assert np.abs(decode(image, dense * 2) - expected).max() > 1e-3
    moved = decode(image + positions, dense, jnp.zeros_like(positions))
    assert np.abs(moved - expected).max() > 1e-3  # positions are for matching, not part of the image


def test_a_round_paints_the_masks_it_asks_for():
    config = SamConfig.tiny()
    model, prompts = drawn_sam(config), points(config)
    embedding = jnp.asarray(np.random.default_rng(2).normal(size=(2, *config.grid, config.embedding)), jnp.float32)

    @jax.jit
    def decode(model, embedding, prompts):
        decoded = model.decoder(embedding)(prompts, None)
        return model.decode(embedding, prompts), decoded.single(), decoded.candidates()

    every, single, candidates = decode(model, embedding, prompts)
    assert every.logits.shape == (2, 3, 4, *config.logits_size)
    for asked, expected in ((single, every.single()), (candidates, every.candidates())):
        np.testing.assert_array_equal(asked.iou, expected.iou)
        np.testing.assert_allclose(asked.logits, expected.logits, atol=1e-5)


def test_decoder_dropout_needs_a_key():
    config = SamConfig.tiny(mask_decoder=MaskDecoderConfig(hidden=128, heads=4, dropout=0.1))
    model, prompts = drawn_sam(config), points(config)
    embedding = jnp.asarray(np.random.default_rng(2).normal(size=(2, *config.grid, config.embedding)), jnp.float32)
    decode = jax.jit(lambda model, embedding, prompts, keys: model.decode(embedding, prompts, keys=keys).logits)
    keys = jax.random.split(jax.random.key(0), prompts.valid.shape[:2])
    quiet = decode(model, embedding, prompts, None)
    np.testing.assert_array_equal(decode(model, embedding, prompts, None), quiet)
    assert (decode(model, embedding, prompts, keys) != quiet).any()
    without = drawn_sam(SamConfig.tiny())
    np.testing.assert_array_equal(decode(without, embedding, prompts, keys), decode(without, embedding, prompts, None))


def test_candidates_and_single_split_the_tokens():
    output = MaskOutput(logits=jnp.arange(4.0).reshape(1, 1, 4, 1, 1), iou=jnp.arange(4.0).reshape(1, 1, 4))
    assert output.single().logits.ravel().tolist() == [0]
    assert output.candidates().iou.ravel().tolist() == [1, 2, 3]
    assert output.take(jnp.array([[2]])).logits.ravel().tolist() == [2]
