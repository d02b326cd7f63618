"""The image side of the decoder: what is not projected saves arithmetic and changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from drawn import drawn, drawn_sam, normal
from flax import nnx

from samjax.core.prompts import PointLabel, Prompts
from samjax.models.sam import two_way
from samjax.models.sam.cross_attention import CrossAttention
from samjax.models.sam.flops import Form, decoder_flops
from samjax.models.sam.image_side import DensePrompt, ImageTokens, PromptedImage
from samjax.models.sam.mask_decoder import MaskDecoderConfig
from samjax.models.sam.sam import Sam, SamConfig
from samjax.models.traced_flops import traced_flops
from samjax.nn.rngs import initial_rngs

TINY = SamConfig.tiny()


def prompts(config: SamConfig, images=2, masks=3) -> Prompts:
    """A point for each mask, and a mask prompt for some."""
    return Prompts(
        coords=10 + 20 * jnp.abs(normal(images, masks, 1, 2)),
        labels=jnp.full((images, masks, 1), int(PointLabel.FOREGROUND), jnp.int32),
        valid=jnp.ones((images, masks, 1), bool),
        mask_logits=normal(images, masks, *config.logits_size, seed=1),
        has_mask=jnp.arange(images * masks).reshape(images, masks) % 2 == 0,
    )


class Projected(CrossAttention):
    """The definition: every cell of every mask is projected, as the release does."""

    def to_image(self, queries, image, positions):
        return self(queries, image.tokens() + positions, image.tokens())

    def from_image(self, image, positions, keys, values, *, key_valid):
        return self(image.tokens() + positions, keys, values, key_valid=key_valid)


@pytest.fixture
def projected(monkeypatch):
    """Make the decoders built from now on compute attention with the image by its definition."""
    return lambda: monkeypatch.setattr(two_way, "CrossAttention", Projected)


def of_a_mask(prompted: PromptedImage) -> ImageTokens:
    return ImageTokens(cells=prompted.tokens())


@pytest.mark.parametrize("side", [lambda prompted: prompted, of_a_mask], ids=["prompted", "a mask's own"])
def test_products_and_sums_are_those_of_projected_cells(side):
    prompt = DensePrompt(features=normal(2, 3, 12, 5), kernel=normal(5, 8, seed=1), constant=normal(2, 3, 8, seed=2))
    image = side(PromptedImage(image=normal(2, 12, 8, seed=3), prompt=prompt))
    linear = drawn(lambda: nnx.LinearGeneral(8, (2, 6), rngs=initial_rngs(0)))
    vectors, positions = normal(2, 3, 7, 2, 6, seed=4), normal(1, 12, 8, seed=5)
    weights = jax.nn.softmax(normal(2, 3, 7, 2, 12, seed=6))

    keys, values = linear(image.tokens() + positions), linear(image.tokens())
    products = jnp.einsum("bmtek,bmiek->bmtei", vectors, keys)
    np.testing.assert_allclose(image.match(linear, vectors, positions), products, rtol=1e-5, atol=1e-4)
    sums = jnp.einsum("bmtei,bmiek->bmtek", weights, values)
    np.testing.assert_allclose(image.gather(linear, weights), sums, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_decoder_says_the_same(projected):
    """Masks, predicted IoU and the gradient of every parameter; photos are not mixed up with each other's masks."""
    embedding, asked = normal(2, *TINY.grid, TINY.embedding, seed=2), prompts(TINY)

    def run():
        graph, weights = nnx.split(drawn_sam(TINY))

        def loss(weights, embedding):
            output = nnx.merge(graph, weights).decode(embedding, asked)
            return jnp.mean(output.logits**2) + jnp.mean(output.iou**2), output

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True, allow_int=True))(weights, embedding)

    (_, shared), shared_gradients = run()
    projected()
    (_, separate), separate_gradients = run()
    for ours, expected in zip(jax.tree.leaves(shared), jax.tree.leaves(separate), strict=True):
        assert jnp.linalg.norm(ours - expected) < 1e-6 * jnp.linalg.norm(expected)
    rounding = 1e-6 * optax.tree.norm(separate_gradients)  # a bias of keys has no gradient but that
    for ours, expected in zip(jax.tree.leaves(shared_gradients), jax.tree.leaves(separate_gradients), strict=True):
        assert jnp.linalg.norm(ours - expected) <= 1e-5 * jnp.linalg.norm(expected) + rounding


@pytest.mark.parametrize(("points", "share"), [(1, 0.7), (11, 0.8)])
def test_it_saves_a_fifth_of_the_decoder(projected, points, share):
    """At the paper's sizes with 64 masks, also with every slot of eight corrections; counted, nothing is computed."""
    config = SamConfig.vit_b(mask_decoder=MaskDecoderConfig(dropout=0.0), dtype="float32")
    embedding = jax.ShapeDtypeStruct((1, *config.grid, config.embedding), jnp.float32)

    def count() -> int:
        graph, weights = nnx.split(nnx.eval_shape(lambda: Sam(config, rngs=initial_rngs(0))))

        def decode(weights, embedding, prompts):
            return nnx.merge(graph, weights).decode(embedding, prompts)

        asked = jax.eval_shape(lambda: prompts(config, images=1, masks=64).pad_to(points))
        return traced_flops(decode, weights, embedding, asked)

    saving = count()
    projected()
    plain = count()
    published = decoder_flops(config, masks=64, rounds=1, prompts=points, form=Form.PLAIN).total
    # Here the mask prompt is added to the image again wherever that is seen, which a compiler does once.
    assert plain == pytest.approx(published, rel=0.03)
    assert saving < share * plain
