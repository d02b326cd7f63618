"""The image side of the decoder's first layer: shared projections save arithmetic and change nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from drawn import drawn, drawn_sam, normal
from flax import nnx

from samjax.core.types import PointLabel, Prompts
from samjax.models.sam import mask_decoder
from samjax.models.sam.config import MaskDecoderConfig, SamConfig
from samjax.models.sam.prompted_image import DensePrompt, PromptedImage
from samjax.models.sam.sam import Sam

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


@pytest.fixture
def plain(monkeypatch):
    """Make the decoder add the prompt to the image first and project the sum, as the release does."""

    def use():
        monkeypatch.setattr(mask_decoder, "PromptedImage", lambda **parts: PromptedImage(**parts).tokens())

    return use


@pytest.mark.parametrize("positions", [None, normal(1, 12, 8, seed=4)], ids=["values", "keys"])
def test_a_projection_of_the_sum_is_the_sum_of_projections(positions):
    prompt = DensePrompt(features=normal(2, 3, 3, 4, 5), kernel=normal(5, 8, seed=1), constant=normal(2, 3, 8, seed=2))
    image = PromptedImage(image=normal(2, 3, 4, 8, seed=3), prompt=prompt)
    linear = drawn(lambda: nnx.LinearGeneral(8, (2, 6), rngs=nnx.Rngs(0)))
    expected = linear(image.tokens() if positions is None else image.tokens() + positions)
    np.testing.assert_allclose(image.project(linear, positions), expected, rtol=1e-5, atol=1e-5)


def test_the_decoder_says_the_same(plain):
    """Masks, predicted IoU and the gradient of every parameter; photos are not mixed up with each other's masks."""
    graph, weights = nnx.split(drawn_sam(TINY))
    embedding, asked = normal(2, *TINY.grid, TINY.embedding, seed=2), prompts(TINY)

    def run():
        def loss(weights, embedding):
            output = nnx.merge(graph, weights).decode(embedding, asked)
            return jnp.mean(output.logits**2) + jnp.mean(output.iou**2), output

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True, allow_int=True))(weights, embedding)

    (_, shared), shared_gradients = run()
    plain()
    (_, separate), separate_gradients = run()
    for ours, expected in zip(jax.tree.leaves(shared), jax.tree.leaves(separate), strict=True):
        assert jnp.linalg.norm(ours - expected) < 1e-6 * jnp.linalg.norm(expected)
    rounding = 1e-6 * optax.tree.norm(separate_gradients)  # a bias of keys has no gradient but that
    for ours, expected in zip(jax.tree.leaves(shared_gradients), jax.tree.leaves(separate_gradients), strict=True):
        assert jnp.linalg.norm(ours - expected) <= 1e-5 * jnp.linalg.norm(expected) + rounding


def products(jaxpr) -> int:
    """Return the FLOPs of a function's matrix products; a multiply-add is two."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            total += 2 * equation.outvars[0].aval.size * int(np.prod([left[axis] for axis in contracted]))
        total += sum(products(value.jaxpr) for value in equation.params.values() if hasattr(value, "jaxpr"))
    return total


def test_it_saves_a_fifth_of_the_decoder(plain):
    """At the paper's sizes with 64 masks; counted, nothing is computed."""
    config = SamConfig.vit_b(mask_decoder=MaskDecoderConfig(dropout=0.0), dtype="float32")
    model = nnx.eval_shape(lambda: Sam(config, rngs=nnx.Rngs(0)))
    graph, weights = nnx.split(model)
    embedding = jax.ShapeDtypeStruct((1, *config.grid, config.embedding), jnp.float32)

    def count() -> int:
        def decode(weights, embedding, prompts):
            return nnx.merge(graph, weights).decode(embedding, prompts)

        asked = jax.eval_shape(lambda: prompts(config, images=1, masks=64))
        return products(jax.make_jaxpr(decode)(weights, embedding, asked).jaxpr)

    shared = count()
    plain()
    assert shared < 0.8 * count()
