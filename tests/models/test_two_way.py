"""Laws of the two-way transformer that ports have broken."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn, normal
from flax import nnx

from samjax.models.sam import two_way
from samjax.models.sam.image_side import ImageTokens
from samjax.models.sam.sam import SamConfig
from samjax.models.sam.two_way import TwoWayLayer, TwoWayTransformer
from samjax.nn.rngs import initial_rngs

CONFIG = SamConfig.tiny()
WIDTH = CONFIG.embedding
SIZES = {"heads": 4, "hidden": 128, "dropout": 0.3, "dtype": CONFIG.compute_dtype}


TOKENS, IMAGE = normal(1, 2, 6, WIDTH), normal(1, 2, 9, WIDTH, seed=1)
TOKEN_POSITIONS, IMAGE_POSITIONS = normal(1, 2, 6, WIDTH, seed=2), normal(1, 9, WIDTH, seed=3)
VALID = jnp.ones((1, 2, 6), bool)


def make_layer() -> TwoWayLayer:
    return drawn(lambda: TwoWayLayer(WIDTH, **SIZES, rngs=initial_rngs(0)))


@functools.partial(jax.jit, static_argnames="first")
def apply(layer, tokens=TOKENS, positions=TOKEN_POSITIONS, image_positions=IMAGE_POSITIONS, *, first):
    tokens, image = layer(
        tokens,
        ImageTokens(cells=IMAGE),
        token_positions=positions,
        image_positions=image_positions,
        token_valid=VALID,
        first=first,
        keys=None,
    )
    return tokens, image.tokens()


def silence(attention, *names):
    for name in names:
        projection = getattr(attention, name)
        projection.kernel[...] = jnp.zeros_like(projection.kernel[...])
        projection.bias[...] = jnp.zeros_like(projection.bias[...])


@pytest.mark.parametrize("first", [True, False])
def test_first_self_attention_has_no_residual(first):
    """With a self-attention that says nothing, the first layer forgets its tokens; a later one does not."""
    layer = make_layer()
    silence(layer.self_attention, "out")
    before, after = apply(layer, first=first), apply(layer, TOKENS + normal(1, 2, 6, WIDTH, seed=4), first=first)
    assert bool((before[0] == after[0]).all()) == first


@pytest.mark.parametrize("first", [True, False])
def test_first_self_attention_has_no_positions(first):
    """Only self-attention is left to see positions; in the first layer it does not."""
    layer = make_layer()
    silence(layer.token_to_image, "query")
    silence(layer.image_to_token, "key")
    before, after = apply(layer, first=first), apply(layer, positions=TOKEN_POSITIONS * 2, first=first)
    assert bool((before[0] == after[0]).all()) == first


def test_values_never_have_positions():
    """Positions reach the result through queries and keys alone: silence the queries, and nothing is left of them."""
    layer = make_layer()
    for attention in (layer.self_attention, layer.token_to_image, layer.image_to_token):
        silence(attention, "query")
    before = apply(layer, first=False)
    after = apply(layer, positions=TOKEN_POSITIONS * 2, image_positions=IMAGE_POSITIONS * 3, first=False)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("attention", ["self_attention", "token_to_image", "image_to_token"])
def test_queries_and_keys_have_positions_each_time(attention):
    """In each of a later layer's three attentions, with the two others silent."""
    layer = make_layer()
    for name in {"self_attention", "token_to_image", "image_to_token"} - {attention}:
        silence(getattr(layer, name), "query")
    before = apply(layer, first=False)
    moved_tokens = apply(layer, positions=TOKEN_POSITIONS * 2, first=False)
    assert any(bool((jnp.abs(a - b) > 1e-3).any()) for a, b in zip(before, moved_tokens, strict=True))
    moved_image = apply(layer, image_positions=IMAGE_POSITIONS * 2, first=False)
    sees_image = any(bool((jnp.abs(a - b) > 1e-3).any()) for a, b in zip(before, moved_image, strict=True))
    assert sees_image == (attention != "self_attention")


@pytest.fixture(scope="module")
def transformer():
    return drawn(lambda: TwoWayTransformer(WIDTH, depth=2, **SIZES, rngs=initial_rngs(0)))


KEYS = jax.random.split(jax.random.key(0), TOKENS.shape[:2])


def transform(transformer, keys=None):
    def run(transformer, keys):  # anew each time: some tests replace what it calls
        image = ImageTokens(cells=IMAGE)
        return transformer(TOKENS, image, image_positions=IMAGE_POSITIONS, token_valid=VALID, keys=keys)

    return jax.jit(run)(transformer, keys)


def test_the_prompts_themselves_are_the_tokens_positions(transformer, monkeypatch):
    """The first layer's input is added again in every layer and in the last attention."""
    seen = []
    original = TwoWayLayer.__call__

    def spy(self, *args, token_positions, **kwargs):
        jax.debug.callback(seen.append, token_positions)
        return original(self, *args, token_positions=token_positions, **kwargs)

    monkeypatch.setattr(TwoWayLayer, "__call__", spy)
    jax.block_until_ready(transform(transformer))
    jax.effects_barrier()
    assert len(seen) == 2
    for positions in seen:
        np.testing.assert_array_equal(positions, TOKENS)


def test_only_the_first_layer_is_first(transformer, monkeypatch):
    seen = []
    original = TwoWayLayer.__call__

    def spy(self, *args, first, **kwargs):
        seen.append(first)
        return original(self, *args, first=first, **kwargs)

    monkeypatch.setattr(TwoWayLayer, "__call__", spy)
    transform(transformer)
    assert seen == [True, False]


def test_dropout_is_on_every_residual_branch_and_needs_a_key(transformer, monkeypatch):
    """Four in a layer and one at the end, at the config's rate, no key used twice; none without a key."""
    quiet = transform(transformer)
    noisy = transform(transformer, KEYS)
    assert (quiet[0] != noisy[0]).any()
    np.testing.assert_array_equal(transform(transformer, KEYS)[0], noisy[0])

    rates, keys = [], set()

    def record(x, rate, key):
        rates.append(rate)
        if key is not None:
            jax.debug.callback(
                lambda key: keys.update(map(tuple, key.reshape(-1, 2).tolist())), jax.random.key_data(key)
            )
        return x

    monkeypatch.setattr(two_way, "dropout", record)
    np.testing.assert_array_equal(transform(transformer, KEYS)[0], quiet[0])
    jax.effects_barrier()
    assert rates == [0.3] * 9
    assert len(keys) == 9 * KEYS.size
    transform(transformer)
    jax.effects_barrier()
    assert len(keys) == 9 * KEYS.size


def test_a_token_attends_first_to_its_own_place():
    """Across token and image, queries and keys start as one projection: a click finds the image around it untrained."""
    layer = TwoWayLayer(WIDTH, **SIZES, rngs=nnx.Rngs(0))
    for attention in (
        layer.token_to_image,
        layer.image_to_token,
        TwoWayTransformer(WIDTH, depth=2, **SIZES, rngs=nnx.Rngs(0)).final,
    ):
        np.testing.assert_array_equal(attention.query.kernel[...], attention.key.kernel[...])
        assert attention.query.kernel is not attention.key.kernel, "one variable: they would train as one"
    assert not np.allclose(layer.self_attention.query.kernel[...], layer.self_attention.key.kernel[...])

    places = normal(1, 64, WIDTH, seed=5)
    attention = layer.token_to_image
    scores = jnp.einsum("nqec,ntec->qt", attention.query(places), attention.key(places))
    assert bool((jnp.argmax(scores, axis=1) == jnp.arange(64)).all())
