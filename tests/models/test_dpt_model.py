"""DPT: published counts, maps, what training changes, and what is refused."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn, normal
from flax import nnx

from samjax.core.errors import UserError
from samjax.core.json_config import from_json, to_json
from samjax.core.random import Rows
from samjax.core.tree import first_match, named_leaves
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.dpt import Classifier, DptDepthConfig, DptSegmentationConfig
from samjax.models.pyramid.pyramid import PyramidConfig
from samjax.models.resnet import ResNetConfig
from samjax.models.vit.dpt_vit import DptVitConfig
from samjax.nn.rngs import initial_rngs
from samjax.nn.structure import abstract_model, array_shapes

FLOAT32 = jnp.dtype("float32")
RESNET = ResNetConfig(stem=4, widths=(16, 16, 32), depths=(1, 1, 2), groups=4)
PLAIN = DptVitConfig(width=8, depth=4, heads=2, taps=(0, 1, 2, 3), table_size=(64, 64))
HYBRID = dataclasses.replace(PLAIN, taps=(1, 3), resnet=RESNET)
COARSE, FINE = (dataclasses.replace(PLAIN, patch=patch, table_size=(64, 64)) for patch in (64, 8))
HEAD = DptSegmentationConfig(width=4, map_widths=(2, 4, 6, 8))
AS_IT_IS = dataclasses.replace(HEAD, map_widths=(0, 4, 6, 8))

LAST_NORM = {"large": 2 * 1024, "hybrid": 2 * 768, "base": 2 * 768}
"""Parameters of the ViT's norm after its last block, which is after the last tap."""
UNUSED_UNIT = {"depth": 2 * (9 * 256**2 + 256), "segmentation": 2 * (9 * 256**2 + 2 * 256)}
"""Those of the deepest fusion's unit for a map that is added, of which there is none."""
COUNTS = {
    ("large", "depth"): 343_030_465,
    ("large", "segmentation"): 343_960_364,
    ("hybrid", "depth"): 122_377_985,
    ("hybrid", "segmentation"): 123_307_884,
    ("base", "depth"): 110_878_081,
    ("base", "segmentation"): 111_807_980,
}
"""transformers'."""


@pytest.mark.parametrize(
    ("size", "task"),
    [one if one == ("base", "segmentation") else pytest.param(*one, marks=pytest.mark.slow) for one in COUNTS],
)
def test_published_sizes_have_the_published_parameters(size, task):
    """But for two parts that take no part; 1,180,160 parameters are the unit's without batch norms."""
    config = getattr(DenseConfig, f"dpt_{size}_{task}")()
    _, params, _ = abstract_model(config.make)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    assert count + LAST_NORM[size] + UNUSED_UNIT[task] == COUNTS[size, task]


def test_the_deepest_fusion_has_no_unit_for_a_map_to_add():
    """D1: files have one, and nobody reads it."""
    shapes = array_shapes(DenseConfig(encoder=PLAIN, head=HEAD, image_size=(64, 64)).make)
    units = {"/".join(name.split("/")[3:5]) for name in shapes if "/unit" in name}
    assert units == {f"{level}/unit{unit}" for level in range(4) for unit in (1, 2)} - {"3/unit1"}


def test_epsilon_is_that_of_timm():
    """D3: transformers' default is 1e-12."""
    assert all(config.vit().epsilon == 1e-6 for config in (DptVitConfig(), DenseConfig.dpt_large_depth().encoder))


@pytest.mark.parametrize("size", ["large", "hybrid", "base"])
def test_configs_come_back_from_json(size):
    for task in ("depth", "segmentation"):
        config = getattr(DenseConfig, f"dpt_{size}_{task}")()
        assert from_json(DenseConfig, json.loads(to_json(config))) == config


@pytest.fixture(scope="module")
def hybrid():
    config = DenseConfig(
        encoder=HYBRID, head=dataclasses.replace(HEAD, map_widths=(0, 0, 6, 8)), classes=3, dtype="float32"
    )
    return nnx.eval_shape(lambda: config.make(rngs=initial_rngs(0)))


def test_maps_have_their_strides_and_channels(hybrid):
    """Of a photo of another size than the frame and the table."""
    maps = jax.eval_shape(lambda model: model.encoder(normal(2, 96, 64, 3)), hybrid)
    assert (HYBRID.strides, HYBRID.channels) == ((4, 8, 16, 16), (16, 16, 8, 8))
    expected = [(2, 96 // s, 64 // s, c) for s, c in zip(HYBRID.strides, HYBRID.channels, strict=True)]
    assert [one.shape for one in maps] == expected


def test_auxiliary_logits_are_for_training_alone(hybrid):
    """At a quarter of the photo's resolution; logits at half of it."""

    def apply(model, key):
        return nnx.merge(*nnx.split(model))(normal(2, 64, 96, 3), key=key)

    without = jax.eval_shape(lambda model: apply(model, None), hybrid)
    within = jax.eval_shape(lambda model: apply(model, jax.random.key(0)), hybrid)
    assert (without.logits.shape, without.auxiliary) == ((2, 32, 48, 3), ())
    assert [one.shape for one in within.auxiliary] == [(2, 16, 24, 3)]


def test_dropout_is_of_single_numbers_and_knows_its_photos():
    """Logits that are the numbers themselves are 0 or twice what they were; a part of a batch drops what the whole
    does."""
    maps = normal(4, 6, 6, 8)

    def logits(rate, maps=maps, rows=None):
        classifier = drawn(lambda: Classifier(8, 8, rate=rate, dtype=FLOAT32, rngs=initial_rngs(0)))
        classifier.classify.kernel[...], classifier.classify.bias[...] = jnp.eye(8), jnp.zeros(8)
        classifier.conv = lambda maps, training: maps  # a norm's statistics are of the batch
        return np.asarray(classifier(maps, jax.random.key(1), rows))

    whole, dropped = logits(0.0), logits(0.5)
    gone = dropped == 0
    assert 0.4 < gone.mean() < 0.6
    assert 0 < gone.all(axis=(1, 2)).sum() + 1 < gone.size  # not whole channels
    assert not gone.all(axis=(1, 2)).any()
    np.testing.assert_allclose(dropped, np.where(gone, 0, 2 * whole), rtol=1e-6)
    rows = Rows(indices=jnp.array([3, 1]), whole=4)
    np.testing.assert_array_equal(logits(0.5, maps[jnp.array([3, 1])], rows), dropped[[3, 1]])


@pytest.mark.parametrize("config", [PLAIN, HYBRID], ids=["plain", "hybrid"])
def test_layers_follow_depth(config):
    """Patches and a ResNet are the first, readouts, which are new, the last."""
    names = array_shapes(lambda *, rngs: config.make(image_size=(64, 64), dtype=FLOAT32, rngs=rngs))
    ids = {name: first_match(f"encoder/{name}", config.layer_ids("encoder")) for name in names}
    assert {name.split("/")[0]: found for name, found in ids.items() if "groups" not in name} == (
        {"vit": 0, "readouts": 5} | ({"resnet": 0} if config.resnet else {})
    )
    assert all(found == (1, 2, 3, 4) for name, found in ids.items() if "groups" in name)
    assert config.layers == 6


def test_layers_of_a_resnet():
    names = array_shapes(lambda *, rngs: RESNET.make(image_size=(64, 64), dtype=FLOAT32, rngs=rngs))
    ids = {name: first_match(f"encoder/{name}", RESNET.layer_ids("encoder")) for name in names}
    assert {"/".join(name.split("/")[:3]): found for name, found in ids.items() if "stem" not in name} == {
        "stages/0/0": 1, "stages/1/0": 2, "stages/2/0": 3, "stages/2/1": 4,
    }  # fmt: skip
    assert {found for name, found in ids.items() if "stem" in name} == {0}
    assert RESNET.layers == 5


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (
            lambda: array_shapes(DenseConfig(encoder=PLAIN, head=HEAD, image_size=(64, 80)).make),
            r"model.image_size \(64, 80\) is not a multiple of the patch, 32; use 64 instead of 80",
        ),
        (lambda: dataclasses.replace(PLAIN, table_size=(64, 72)), r"table_size \(64, 72\) is not a multiple"),
        (lambda: dataclasses.replace(HYBRID, patch=8), "patch is 8, but the last map .* stride of 16"),
        (lambda: dataclasses.replace(PLAIN, taps=(3, 1)), r"taps are \(3, 1\); give rising"),
        (lambda: dataclasses.replace(PLAIN, global_every=2), "class_token is True, but .* no place on a map"),
        (lambda: ResNetConfig(depths=(3, 4)), "one number for each stage"),
        (lambda: ResNetConfig(widths=(64, 96, 128)), r"widths\[0\] is 64; .* multiple of 128"),
        (lambda: ResNetConfig(stem=48), "stem is 48; .* multiple of 32"),
        (
            lambda: array_shapes(DenseConfig(encoder=PLAIN, head=DptDepthConfig(), image_size=(64, 64)).make),
            "model.classes is 150, but DPT's head for depth has one channel",
        ),
        (
            lambda: array_shapes(DenseConfig(encoder=PLAIN, head=AS_IT_IS, image_size=(64, 64)).make),
            r"map 0 of model.encoder has a stride of 16, but model.head fuses it at 4: the stride must be it",
        ),
        (
            lambda: array_shapes(DenseConfig(encoder=COARSE, head=HEAD, image_size=(64, 96)).make),
            r"image_size \(64, 96\) is not a multiple of the patch, 64",
        ),
        (
            lambda: array_shapes(DenseConfig(encoder=FINE, head=HEAD, image_size=(64, 64)).make),
            "map 3 of model.encoder has a stride of 8, but .* fuses it at 32: .* must be a multiple of it, or half",
        ),
    ],
)
def test_what_cannot_be_is_refused(attempt, message):
    with pytest.raises(UserError, match=message):
        attempt()


def test_a_pyramid_needs_no_reassembling():
    """Its maps have the strides at which they are fused; photos of odd maps are refused rather than resized (D3)."""
    encoder = PyramidConfig(widths=(4, 8, 10, 16), depths=(1, 1, 1, 1))
    config = DptSegmentationConfig(width=4, map_widths=(0, 0, 0, 0))
    head = nnx.eval_shape(lambda: config.make(encoder=encoder, classes=3, dtype=FLOAT32, rngs=initial_rngs(0)))
    assert not any("reassemble" in name for name in named_leaves(nnx.split(head)[1]))

    def logits(width):
        levels = zip(encoder.strides, encoder.channels, strict=True)
        maps = tuple(jax.ShapeDtypeStruct((1, 64 // s, -(-width // s), c), jnp.float32) for s, c in levels)
        return jax.eval_shape(lambda head, maps: head(maps).logits, head, maps).shape

    assert logits(96) == (1, 32, 48, 3)
    with pytest.raises(UserError, match="sides are multiples of 32"):
        logits(80)
