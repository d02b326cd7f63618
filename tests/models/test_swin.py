"""Swin transformers: published counts, windows that are shifted, drop path, layers, both layouts of weights."""

import dataclasses
import json
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.errors import UserError
from samjax.core.json_config import from_json, to_json
from samjax.core.tree import matches, nest
from samjax.interop.mapping import Naming, arrays_from_torch, arrays_to_torch, write_out
from samjax.interop.tables.swin_rows import AUTHORS, TRANSFORMERS, swin_rows, swin_slots
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.fpn import FpnConfig
from samjax.models.swin.swin import Swin, SwinConfig
from samjax.nn.rngs import initial_rngs
from samjax.nn.structure import array_shapes, model_with
from samjax.nn.window_attention import shifted_regions

FLOAT32 = jnp.dtype("float32")
TINY = SwinConfig(width=4, depths=(2, 2, 4, 2), heads=(1, 2, 2, 4), window=4, drop_path=0.5)
COUNTS = {
    "Swin-T": (SwinConfig.swin_t(), 27_520_698),
    "Swin-S": (SwinConfig.swin_s(), 48_838_602),
    "Swin-B": (SwinConfig.swin_b(), 86_880_376),
    "Swin-L": (SwinConfig.swin_l(), 195_201_204),
}


def shapes_of(config: SwinConfig) -> dict[str, tuple[int, ...]]:
    return array_shapes(lambda *, rngs: Swin(config, dtype=FLOAT32, rngs=rngs))


@pytest.mark.parametrize(
    "name", [name if name == "Swin-T" else pytest.param(name, marks=pytest.mark.slow) for name in COUNTS]
)
def test_published_sizes_have_the_published_parameters(name):
    """With a norm of each stage's map, as dense models have them."""
    config, expected = COUNTS[name]
    assert sum(map(math.prod, shapes_of(config).values())) == expected
    assert config.channels == tuple(config.width * 2**stage for stage in range(4))


@pytest.fixture(scope="module")
def arrays():
    draw = np.random.default_rng(1)
    return {name: draw.normal(size=shape).astype(np.float32) for name, shape in shapes_of(TINY).items()}


@pytest.fixture(scope="module")
def model(arrays):
    return model_with(lambda *, rngs: Swin(TINY, dtype=FLOAT32, rngs=rngs), params=nest(arrays), buffers={})


@pytest.fixture(scope="module")
def image():
    return jnp.asarray(np.random.default_rng(0).normal(size=(4, 70, 93, 3)), jnp.float32)


@jax.jit
def maps_of(model, image, key=None):
    return model(image, key=key)


def test_maps_have_the_strides_rounded_up(model, image):
    assert [one.shape for one in maps_of(model, image)] == [(4, 18, 24, 4), (4, 9, 12, 8), (4, 5, 6, 16), (4, 3, 3, 32)]


def test_some_maps_are_those_of_all(arrays, model, image):
    """Without the norms of the others."""
    config = dataclasses.replace(TINY, maps=(1, 3))
    needed = shapes_of(config)
    left = {name: array for name, array in arrays.items() if name in needed}
    assert len(arrays) - len(left) == 4
    some = model_with(lambda *, rngs: Swin(config, dtype=FLOAT32, rngs=rngs), params=nest(left), buffers={})
    np.testing.assert_allclose(maps_of(some, image)[1], maps_of(model, image)[3], atol=1e-4)
    assert (config.strides, config.channels) == ((8, 32), (8, 32))


def test_regions_of_a_shifted_map():
    """The last windows hold rows from the end of the map and rows from its beginning, which do not see each other."""
    regions = shifted_regions((8, 4), window=4, shift=2).reshape(2, 4, 4)
    same = regions == regions[:, :1, :1]
    assert same[0].tolist() == [[True, True, False, False]] * 4, "all of its rows are neighbours; its columns are not"
    assert same[1].tolist() == [[True, True, False, False]] * 2 + [[False] * 4] * 2
    assert len(np.unique(regions)) == 2 + 4


def test_tokens_on_opposite_borders_do_not_meet(model):
    """A change in the first rows changes no token that only a roll brings beside them."""
    image = jnp.zeros((1, 64, 64, 3))
    first = jax.jit(lambda image: model.stages[0](image, jnp.zeros(2), None))
    changed = (first(image.at[:, :4].set(1.0)) != first(image)).any(axis=(0, 2, 3))
    assert changed.nonzero()[0].tolist() == list(range(6)), "its own window of four rows, and half of the next"


def test_drop_path_is_drawn_for_each_photo(model, image):
    """The first block is never dropped, others are; evaluation drops none."""
    copies = jnp.broadcast_to(image[:1], image.shape)
    plain, again = maps_of(model, copies), maps_of(model, copies)
    trained = maps_of(model, copies, jax.random.key(0))
    for one, other in zip(plain, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(np.unique(np.asarray(trained[-1]).sum(axis=(1, 2, 3)))) > 1
    other = maps_of(model, copies, jax.random.key(1))
    assert (np.asarray(trained[-1]) != np.asarray(other[-1])).any()


def test_every_parameter_has_a_layer(arrays):
    ids, found = TINY.layer_ids("encoder"), set()
    for name, array in arrays.items():
        of_name = [layer for pattern, layer in ids if matches(f"encoder/{name}", pattern)]
        assert len(of_name) == 1, name
        layers = of_name[0] if isinstance(of_name[0], tuple) else (of_name[0],)
        assert len(layers) in {1, len(array)}
        found |= set(layers)
    assert found == set(range(TINY.layers))


def test_both_layouts_hold_every_array(arrays):
    """The authors' has query, key and value in one array."""
    rows, slots = swin_rows(TINY, prefixes={AUTHORS: "", TRANSFORMERS: ""}), swin_slots(TINY)
    tables = {name: write_out(rows, slots, Naming(name=name, title="", signs=())) for name in (AUTHORS, TRANSFORMERS)}
    written = {name: arrays_to_torch(table, arrays, shapes_of(TINY)) for name, table in tables.items()}
    for name, table in tables.items():
        read = arrays_from_torch(table, written[name], shapes_of(TINY))
        assert read.keys() == arrays.keys()
        for path, array in arrays.items():
            np.testing.assert_array_equal(read[path], array, err_msg=path)
    own, hub = written[AUTHORS], written[TRANSFORMERS]
    start = "encoder.layers.2.blocks.3.attention.self"
    parts = [hub[f"{start}.{part}.weight"] for part in ("query", "key", "value")]
    np.testing.assert_array_equal(own["layers.2.blocks.3.attn.qkv.weight"], np.concatenate(parts))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"depths": (2, 2, 5, 2)}, "depths has 5; blocks come in pairs"),
        ({"heads": (3, 6, 12, 23)}, "stage 3 is 768; it must be a positive multiple of 23"),
        ({"maps": (0, 4)}, re.escape("maps is (0, 4); expected some of the stages 0 to 3")),
        ({"maps": (1, 0)}, "in their order"),
        ({"maps": ()}, "expected some"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, said):
    with pytest.raises(UserError, match=said):
        SwinConfig(**changes)


def test_a_head_takes_its_maps_and_a_file_names_it():
    config = DenseConfig(encoder=TINY, head=FpnConfig(pyramid_width=32, width=32), classes=3, image_size=(40, 56))
    assert from_json(DenseConfig, json.loads(to_json(config))) == config
    photo = jnp.zeros((1, 40, 56, 3), jnp.uint8)
    logits = jax.jit(lambda image: config.make(rngs=initial_rngs(0)).logits(image))(photo)
    assert logits.shape == (1, 40, 56, 3)
    assert np.isfinite(logits).all()
