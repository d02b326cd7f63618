"""Where a prompt is, and what it is."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn
from flax import nnx

from samjax.core.prompts import PointLabel, Prompts
from samjax.models.sam.prompt_encoder import PositionEncoding, PromptEncoder
from samjax.models.sam.sam import SamConfig

CONFIG = SamConfig.tiny(image_size=(64, 128))


def make(dtype: str = "float32") -> PromptEncoder:
    return drawn(
        lambda: PromptEncoder(
            CONFIG.embedding,
            image_size=CONFIG.image_size,
            grid=CONFIG.grid,
            mask_channels=16,
            dtype=jnp.dtype(dtype),
            rngs=nnx.Rngs(0),
        )
    )


@pytest.fixture(scope="module")
def encoder():
    return make()


def prompts(coords, labels, logits=None) -> Prompts:
    labels = jnp.asarray(labels, jnp.int32)[None, None]
    height, width = CONFIG.logits_size
    return Prompts(
        coords=jnp.asarray(coords, jnp.float32)[None, None],
        labels=labels,
        valid=jnp.ones(labels.shape, bool),
        mask_logits=jnp.zeros((1, 1, height, width)) if logits is None else logits,
        has_mask=jnp.array([[logits is not None]]),
    )


embed = jax.jit(lambda encoder, prompts: encoder(prompts))


def fourier(x, y, width, height, gaussian):
    """Encode a place in float64, from the paper's words."""
    unit = np.array([x / width, y / height]) * 2 - 1
    angle = 2 * np.pi * (unit @ np.asarray(gaussian, np.float64))
    return np.concatenate([np.sin(angle), np.cos(angle)])


@pytest.mark.parametrize("label", [0, 1, 2, 3])
def test_a_point_is_its_pixels_centre_in_the_frame_plus_its_kind(encoder, label):
    """+0.5, x by the width and y by the height, to [-1, 1], times the matrix, times 2 pi, sine then cosine."""
    sparse = embed(encoder, prompts([[100.0, 13.0]], [label])).sparse[0, 0, 0]
    expected = fourier(100.5, 13.5, 128, 64, encoder.position.gaussian[...]) + encoder.points[...][label]
    np.testing.assert_allclose(sparse, expected, atol=2e-5)


def test_image_positions_are_the_centres_of_the_cells(encoder):
    positions = encoder.dense_positions()
    assert positions.shape == (*CONFIG.grid, CONFIG.embedding)
    assert CONFIG.grid == (4, 8)
    expected = fourier(6.5, 2.5, 8, 4, encoder.position.gaussian[...])
    np.testing.assert_allclose(positions[2, 6], expected, atol=2e-5)


def test_a_pixel_and_the_cell_over_it_have_one_encoding(encoder):
    """A point at the centre of a cell is encoded as that cell."""
    patch = CONFIG.image_encoder.patch
    centre = [patch * 6 + patch / 2 - 0.5, patch * 2 + patch / 2 - 0.5]
    sparse = embed(encoder, prompts([centre], [1])).sparse[0, 0, 0] - encoder.points[...][1]
    np.testing.assert_allclose(sparse, encoder.dense_positions()[2, 6], atol=2e-5)


def test_not_a_point_has_no_place(encoder):
    """What stands in for a box that is not there is its embedding alone, wherever it is put."""
    sparse = embed(encoder, prompts([[3.0, 4.0], [90.0, 50.0]], [PointLabel.NOT_A_POINT] * 2)).sparse[0, 0]
    np.testing.assert_array_equal(sparse[0], encoder.not_a_point[...])
    np.testing.assert_array_equal(sparse[1], encoder.not_a_point[...])


def test_positions_are_float32_at_the_highest_precision():
    """In every model, and on hardware whose matrix product is not float32 unless asked."""
    position = PositionEncoding(8, rngs=nnx.Rngs(0))
    jaxpr = jax.make_jaxpr(lambda coords: position(coords, (4, 4)))(jnp.zeros((3, 2), jnp.bfloat16))
    products = [equation for equation in jaxpr.jaxpr.eqns if equation.primitive.name == "dot_general"]
    assert [product.params["precision"] for product in products] == [(jax.lax.Precision.HIGHEST,) * 2]
    assert {operand.aval.dtype for operand in products[0].invars} == {jnp.dtype("float32")}
    assert jaxpr.out_avals[0].dtype == jnp.float32


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_places_are_alike_by_a_gaussian_of_their_distance(scale):
    """Of random Fourier features: exp(-(2 pi * scale * distance)^2 / 2), the frame being 2 wide."""
    position = PositionEncoding(2**15, scale=scale, rngs=nnx.Rngs(0))
    apart = np.array([0, 0.25, 0.5, 1, 2]) / 12 / scale  # shares of the frame
    codes = position(jnp.asarray(50 + 100 * np.stack([apart, 0 * apart], axis=-1), jnp.float32), (100, 100))
    alike = np.asarray(codes @ codes[0]) / float(codes[0] @ codes[0])
    np.testing.assert_allclose(alike, np.exp(-((2 * np.pi * scale * 2 * apart) ** 2) / 2), atol=0.02)
    assert alike[3] == pytest.approx(0.58, abs=0.02)


def test_the_scale_of_a_configs_positions_is_the_models():
    config = SamConfig.tiny(image_size=(64, 64), position_scale=4.0)
    plain = dataclasses.replace(config, position_scale=1.0)
    of = [model.make(rngs=nnx.Rngs(0)).prompt_encoder.position.gaussian[...] for model in (plain, config)]
    np.testing.assert_array_equal(of[1], 4 * of[0])


def test_positions_and_tokens_of_a_bfloat16_model_are_the_float32_ones(encoder):
    half = make("bfloat16")
    given = prompts([[100.0, 13.0], [5.0, 6.0]], [1, 2])
    np.testing.assert_array_equal(embed(half, given).sparse, embed(encoder, given).sparse)
    np.testing.assert_array_equal(half.dense_positions(), encoder.dense_positions())


def test_no_mask_is_one_embedding_everywhere(encoder):
    dense = embed(encoder, prompts([[1.0, 1.0]], [1])).dense.map()
    assert dense.shape == (1, 1, math.prod(CONFIG.grid), CONFIG.embedding)
    np.testing.assert_array_equal(dense, jnp.broadcast_to(encoder.no_mask[...], dense.shape))


def test_a_mask_is_embedded_in_place(encoder):
    """Each cell sees its own four by four logits, unthresholded."""
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(1, 1, *CONFIG.logits_size)), jnp.float32)
    before = embed(encoder, prompts([[1.0, 1.0]], [1], logits)).dense.map()
    after = embed(encoder, prompts([[1.0, 1.0]], [1], logits.at[..., 4:8, 12:16].add(0.1))).dense.map()
    changed = np.asarray((before != after).any(axis=-1)).reshape(CONFIG.grid)
    np.testing.assert_array_equal(np.argwhere(changed), [[1, 3]])
