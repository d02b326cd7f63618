"""The image encoder in training: scanned depth, rematerialisation, drop path."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn
from flax import nnx

from samjax.models.sam.image_encoder import ImageEncoder, ImageEncoderConfig
from samjax.models.sam.sam import SamConfig
from samjax.models.vit import blocks
from samjax.nn.rngs import initial_rngs
from samjax.nn.stack import Remat, layer

CONFIG = SamConfig.tiny(
    image_size=(32, 48),
    embedding=16,
    image_encoder=ImageEncoderConfig(patch=8, width=24, depth=6, heads=2, window=3, global_every=3),
)


def with_encoder(**changes) -> SamConfig:
    return dataclasses.replace(CONFIG, image_encoder=dataclasses.replace(CONFIG.image_encoder, **changes))


encode = jax.jit(lambda encoder, image, key=None: encoder(image, key=key))


def make(config: SamConfig) -> ImageEncoder:
    encoder, dtype = config.image_encoder, config.compute_dtype
    return drawn(
        lambda: ImageEncoder(encoder, grid=config.grid, embedding=config.embedding, dtype=dtype, rngs=initial_rngs(0))
    )


@pytest.fixture(scope="module")
def image():
    return jnp.asarray(np.random.default_rng(0).normal(size=(3, *CONFIG.image_size, 3)), jnp.float32)


def by_hand(encoder: ImageEncoder, image):
    """Apply the blocks in a Python loop."""
    tokens = encoder.patch_embed(image) + encoder.position[...]
    for group in range(2):
        stacked = layer(encoder.groups, group)
        for block in (layer(stacked.windowed, 0), layer(stacked.windowed, 1), stacked.full):
            tokens = block(tokens, jnp.zeros(()), None)
    return encoder.neck(tokens)


def value_and_gradient(apply, encoder, image):
    graph, params = nnx.split(encoder)
    objective = jax.value_and_grad(lambda params: (apply(nnx.merge(graph, params), image) ** 2).mean())
    loss, gradient = jax.jit(objective)(params)
    return loss, nnx.to_pure_dict(gradient)


@pytest.fixture(scope="module")
def looped(image):
    """Loss and gradient of the plain loop, on parameters where every tensor matters."""
    encoder = make(CONFIG)
    return encoder, value_and_gradient(by_hand, encoder, image)


@pytest.mark.parametrize("remat", list(Remat), ids=lambda remat: remat.value)
def test_scan_and_rematerialisation_change_nothing(remat, looped, image):
    encoder, (loss, gradient) = looped
    scanned = nnx.merge(nnx.split(make(with_encoder(remat=remat)))[0], nnx.split(encoder)[1])
    ours_loss, ours = value_and_gradient(lambda encoder, image: encoder(image), scanned, image)
    np.testing.assert_allclose(ours_loss, loss, rtol=1e-6)
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * scale), ours, gradient)


def test_rematerialisation_is_there():
    """FULL recomputes what NONE keeps; DOTS lies between."""
    image = jnp.zeros((1, *CONFIG.image_size, 3))

    def kept(remat: Remat) -> int:
        graph, params = nnx.split(make(with_encoder(remat=remat)))

        def loss(params):
            return nnx.merge(graph, params)(image).sum()

        pullback = jax.eval_shape(lambda params: jax.vjp(loss, params)[1], params)
        return sum(leaf.size for leaf in jax.tree.leaves(pullback))

    assert kept(Remat.FULL) < kept(Remat.DOTS) < kept(Remat.NONE)


def test_drop_path_rates_rise_linearly_over_depth(monkeypatch, image):
    """From 0 at the first block to `drop_path` at the last, both branches of a block alike, no draw used twice."""
    seen = []

    def record(branch, rate, keep):
        jax.debug.callback(lambda rate, keep: seen.append((float(rate), *keep.tolist())), rate, keep)
        return branch

    monkeypatch.setattr(blocks, "drop_path", record)
    run = jax.jit(lambda encoder, image, key: encoder(image, key=key))
    many = jnp.tile(image[:1], (64, 1, 1, 1))
    jax.block_until_ready(run(make(with_encoder(drop_path=0.5)), many, jax.random.key(0)))
    jax.effects_barrier()
    rates = sorted(rate for rate, *_ in seen)
    np.testing.assert_allclose(rates, np.repeat(np.linspace(0, 0.5, 6), 2), atol=1e-7)
    dropping = [tuple(keep) for rate, *keep in seen if rate > 0]
    assert len(set(dropping)) == len(dropping) == 10


def test_drop_path_needs_a_key_and_a_rate(image):
    dropping, plain = make(with_encoder(drop_path=0.9)), make(CONFIG)
    expected = encode(plain, image)
    np.testing.assert_array_equal(encode(dropping, image), expected)
    np.testing.assert_array_equal(encode(plain, image, jax.random.key(0)), expected)
    assert (encode(dropping, image, jax.random.key(0)) != expected).any()


def test_drop_path_is_by_sample_and_by_key():
    """The same photo three times in a batch comes out in different ways; the same key twice in the same."""
    encoder = make(with_encoder(drop_path=0.9))
    image = jnp.ones((8, *CONFIG.image_size, 3))
    out = encode(encoder, image, jax.random.key(0))
    assert len({float(embedding[0, 0, 0]) for embedding in out}) > 1
    np.testing.assert_array_equal(encode(encoder, image, jax.random.key(0)), out)


def test_the_first_block_is_never_dropped(image):
    """Its rate is zero, so a model of drop path 1 still sees the photo through it."""
    encoder = make(with_encoder(drop_path=0.999))
    assert np.isfinite(encode(encoder, image, jax.random.key(1))).all()
