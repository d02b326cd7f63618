"""Heads: what parity in PyTorch without noise does not show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from samjax.core.errors import UserError
from samjax.core.random import Rows
from samjax.core.tree import named_leaves
from samjax.models.heads.all_mlp import AllMlpConfig, AllMlpHead
from samjax.models.heads.fpn import FpnConfig, FpnHead
from samjax.models.heads.mask_transformer import MaskTransformerConfig
from samjax.models.heads.mla import MlaConfig
from samjax.models.heads.ocr import OcrConfig, OcrHead
from samjax.models.heads.progressive import ProgressiveConfig
from samjax.models.pyramid.pyramid import PyramidConfig
from samjax.models.vit.blocks import apply_groups
from samjax.models.vit.tapped_vit import TappedVitConfig
from samjax.nn.mlp import Mlp
from samjax.nn.rngs import initial_rngs

FLOAT32 = jnp.dtype("float32")
ENCODER = TappedVitConfig(width=8, heads=2, depth=3, taps=(0, 1), patch=8)

MAPS = tuple(jnp.asarray(np.random.default_rng(0).normal(size=(3, *side, 2)), jnp.float32) for side in ((4, 6), (2, 3)))
WIDTH = 8
SIZES = {"channels": (2, 2), "classes": WIDTH, "dtype": jnp.dtype("float32")}


def all_mlp(dropout: float) -> AllMlpHead:
    return AllMlpHead(AllMlpConfig(width=WIDTH, dropout=dropout), **SIZES, rngs=nnx.Rngs(0))


def ocr(dropout: float) -> OcrHead:
    config = OcrConfig(width=WIDTH, key_width=4, auxiliary_width=4, auxiliary_kernel=1, dropout=dropout)
    return OcrHead(config, **SIZES, rngs=nnx.Rngs(0))


def semantic_fpn(dropout: float) -> FpnHead:
    config = FpnConfig(pyramid_width=4, width=WIDTH, dropout=dropout)
    return FpnHead(config, strides=(4, 8), **SIZES, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("make", [all_mlp, pytest.param(ocr, marks=pytest.mark.slow), semantic_fpn])
def test_dropout_is_of_whole_channels_of_a_photo(make):
    """With logits that are the mixed channels themselves: each is 0 everywhere or twice what it was."""

    def logits(rate):
        head = make(rate)
        head.classify.kernel[...] = jnp.eye(WIDTH)
        return np.asarray(head(MAPS, key=jax.random.key(1)).logits)

    whole, dropped = logits(0.0), logits(0.5)
    gone = ~dropped.any(axis=(1, 2)) & whole.any(axis=(1, 2))
    assert 0 < gone.sum() < gone.size
    np.testing.assert_allclose(dropped, np.where(gone[:, None, None], 0, 2 * whole), rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(make(0.5)(MAPS).logits), np.asarray(make(0.0)(MAPS).logits))


def test_the_mask_transformer_drops_what_its_branches_give():
    """With a block whose attention and MLP give 1 each: at a rate of a half, a unit gets 0, 2 or 4 in training, and a
    part of a batch what the whole gives it."""
    config = MaskTransformerConfig(depth=1, head_channels=4, dropout=0.5)
    head = config.make(encoder=ENCODER, classes=3, dtype=FLOAT32, rngs=nnx.Rngs(0))
    for layer in (head.groups.full.attention.out, head.groups.full.mlp.down):
        layer.kernel[...], layer.bias[...] = jnp.zeros(layer.kernel.shape), jnp.ones(layer.bias.shape)
    key, maps = jax.random.key(0), (jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 3, 8)), jnp.float32),)

    @jax.jit
    def outputs(head, tokens):
        def apply(tokens, **noise):
            return apply_groups(head.groups, tokens, head.blocks, rate=head.dropout, **noise)[0]

        part = apply(tokens[:2], key=key, rows=Rows(indices=jnp.array([5, 2]), whole=8))
        return apply(tokens, key=key), part, *(head(maps, key=one).logits for one in (key, None))

    out, part, in_training, without = map(np.asarray, outputs(head, jnp.zeros((8, 30, 8))))
    counts = np.array([(out == value).mean() for value in (0, 2, 4)])
    np.testing.assert_allclose(counts, (0.25, 0.5, 0.25), atol=5 * np.sqrt(0.25 / out.size))
    assert counts.sum() == pytest.approx(1)
    np.testing.assert_array_equal(part, out[[5, 2]])
    assert np.abs(in_training - without).max() > 0.1


def test_an_mlp_drops_hidden_units():
    """With hidden units that are 1 and go out as they are: each is 0 or 2."""
    mlp = Mlp(4, 4, activation=lambda units: units, dtype=FLOAT32, rngs=nnx.Rngs(0))
    mlp.up.kernel[...], mlp.up.bias[...], mlp.down.kernel[...] = jnp.zeros((4, 4)), jnp.ones(4), jnp.eye(4)
    keys = jax.random.split(jax.random.key(0), 2)
    out = jax.jit(lambda mlp: mlp(jnp.zeros((2, 100, 4)), dropout=0.5, key=keys))(mlp)
    assert set(np.unique(out)) == {0, 2}
    assert (out[0] != out[1]).any()


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(ProgressiveConfig(width=4, factors=(2, 1), auxiliary=True), id="progressive"),
        pytest.param(MlaConfig(width=4, level_width=2, auxiliary=True), id="mla", marks=pytest.mark.slow),
    ],
)
def test_every_batch_norm_of_a_head_remembers_in_training(config):
    """Auxiliary heads' too; and none otherwise."""
    head = config.make(encoder=ENCODER, classes=3, dtype=FLOAT32, rngs=nnx.Rngs(0))
    graph, variables = nnx.split(head)
    variables = nnx.to_pure_dict(variables)
    maps = tuple(jnp.asarray(np.random.default_rng(0).normal(size=(2, 2, 3, 8)), jnp.float32) for _ in range(3))

    @jax.jit
    def after(variables):
        trained, untouched = nnx.merge(graph, variables), nnx.merge(graph, variables)
        auxiliary = len(trained(maps, key=jax.random.key(0)).auxiliary), len(untouched(maps).auxiliary)
        return *(nnx.to_pure_dict(nnx.state(one)) for one in (trained, untouched)), auxiliary

    trained, untouched, auxiliary = after(variables)
    assert {int(count) for count in auxiliary} == {len(head.auxiliary)}
    variances = {name: one for name, one in named_leaves(trained).items() if name.endswith("/variance")}
    convolutions = [name for name in named_leaves(trained) if "/conv/kernel" in name]
    assert len(variances) == len(convolutions) > len(head.auxiliary)
    assert all((one != 1).all() for one in variances.values())
    assert all((one == 1).all() for name, one in named_leaves(untouched).items() if name.endswith("/variance"))


def test_a_head_of_the_last_map_takes_any_backbone():
    """The last map of a pyramid is its coarsest; earlier ones have auxiliary heads of their own widths."""
    encoder = PyramidConfig(widths=(4, 8, 10, 16))
    make = ProgressiveConfig(width=4, factors=(2, 1), auxiliary=True, auxiliary_factors=(1,)).make
    head = nnx.eval_shape(lambda: make(encoder=encoder, classes=3, dtype=FLOAT32, rngs=initial_rngs(0)))
    maps = tuple(
        jnp.zeros((1, 2 ** (3 - level), 2 ** (3 - level), width)) for level, width in enumerate((4, 8, 10, 16))
    )
    found = jax.eval_shape(lambda head: head(maps), head)
    assert found.logits.shape == (1, 2, 2, 3)
    assert [one.shape for one in found.auxiliary] == [(1, 8, 8, 3), (1, 4, 4, 3), (1, 2, 2, 3)]


def test_backbones_that_a_head_cannot_take_are_refused():
    with pytest.raises(UserError, match=r"MlaConfig, which sums maps of one stride; theirs are \(4, 8, 16, 32\)"):
        MlaConfig().make(encoder=PyramidConfig(), classes=3, dtype=FLOAT32, rngs=nnx.Rngs(0))
    with pytest.raises(UserError, match="last map has 8 channels; they must be a multiple of"):
        MaskTransformerConfig().make(encoder=ENCODER, classes=3, dtype=FLOAT32, rngs=nnx.Rngs(0))
