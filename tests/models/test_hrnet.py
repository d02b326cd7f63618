"""High-resolution networks: published counts, maps of odd photos, drop path, layers, and what is refused."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import drawn, normal
from flax import nnx
from helpers.hrformer_cases import CONFIG

from samjax.core.errors import UserError
from samjax.core.tree import first_match, named_leaves
from samjax.models.heads.ocr import OcrConfig
from samjax.models.hrnet import hrnet
from samjax.models.hrnet.hrnet import Hrnet, HrnetConfig, Stage
from samjax.models.hrnet.hrnet_blocks import HrformerBlock
from samjax.models.hrnet.hrnet_sizes import BranchBlock, Fuse
from samjax.nn.rngs import initial_rngs
from samjax.nn.structure import abstract_model

FLOAT32 = jnp.dtype("float32")
TINY = dataclasses.replace(CONFIG, modules=(1, 2, 1), blocks=2)


def shapes_of(config: HrnetConfig) -> dict[str, tuple[int, ...]]:
    """Parameters alone."""
    _, params, _ = abstract_model(lambda *, rngs: Hrnet(config, dtype=FLOAT32, rngs=rngs))
    return {path: leaf.shape for path, leaf in named_leaves(nnx.to_pure_dict(params)).items()}


COUNTS = {
    "HRFormer-S": (HrnetConfig.hrformer_s(), 7_891_050),
    "HRFormer-B": (HrnetConfig.hrformer_b(), 44_040_666),
    "HRFormer-B, window 13": (HrnetConfig.hrformer_b(window=13), 44_151_930),
    "HRFormer-B, window 15": (HrnetConfig.hrformer_b(window=15), 44_204_634),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_published_sizes_have_the_published_parameters(name):
    config, expected = COUNTS[name]
    assert sum(map(math.prod, shapes_of(config).values())) == expected


CLICKS = 9_345
"""Parameters of the branch by which RITM sees clicks."""
RITM = {
    "18s": ((18, 36, 72, 144), {"modules": (1, 3, 2)}, 48, 4_220_047),
    "18": ((18, 36, 72, 144), {"modules": (1, 4, 3), "blocks": 4, "bottlenecks": 4}, 64, 10_032_019),
    "32": ((32, 64, 128, 256), {"modules": (1, 4, 3), "blocks": 4, "bottlenecks": 4}, 128, 30_951_363),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RITM)
def test_hrnet_with_ocr_has_the_published_parameters(name):
    """RITM's: basic blocks, plain convolutions between branches, and attention without biases."""
    widths, sizes, width, expected = RITM[name]
    config = HrnetConfig(widths=widths, block=BranchBlock.BASIC, fuse=Fuse.PLAIN, **sizes)
    head = OcrConfig(
        width=2 * width, key_width=width, auxiliary_width=sum(widths), auxiliary_kernel=1, attention_bias=False
    )
    _, of_head, _ = abstract_model(lambda *, rngs: head.make(encoder=config, classes=1, dtype=FLOAT32, rngs=rngs))
    parameters = [*shapes_of(config).values(), *(leaf.shape for leaf in named_leaves(of_head).values())]
    assert sum(map(math.prod, parameters)) == expected - CLICKS


@pytest.mark.parametrize(
    ("block", "fuse", "sides"),
    [
        (BranchBlock.BASIC, Fuse.PLAIN, (65, 33)),
        pytest.param(BranchBlock.TRANSFORMER, Fuse.DEPTHWISE, (65, 33), marks=pytest.mark.slow),
        pytest.param(BranchBlock.TRANSFORMER, Fuse.DEPTHWISE, (64, 96), marks=pytest.mark.slow),
    ],
)
def test_each_map_has_its_stride_and_channels(block, fuse, sides):
    """Rounded up, each from the one before."""
    config = dataclasses.replace(CONFIG, block=block, fuse=fuse)
    model = nnx.eval_shape(lambda: Hrnet(config, dtype=FLOAT32, rngs=initial_rngs(0)))
    maps = jax.eval_shape(lambda model, image: model(image), model, jnp.zeros((1, *sides, 3)))
    assert config.strides == (4, 8, 16, 32)
    for one, stride, width in zip(maps, config.strides, config.channels, strict=True):
        assert one.shape == (1, *(-(-side // stride) for side in sides), width)


def test_drop_path_rates_rise_over_all_stages(monkeypatch):
    """Of the blocks of a branch; branches side by side have the same rate, and draw for themselves."""
    config = dataclasses.replace(CONFIG, modules=(1, 2, 1), drop_path=0.7)
    rates, draws = [], []

    def draw(keys, of_branch, photos, rows):
        draws.append((keys.shape, of_branch, photos, rows))
        assert len(np.unique(jax.random.key_data(keys).reshape(keys.size, -1), axis=0)) == keys.size
        return jnp.zeros((*keys.shape, photos), bool)

    def record(stage, maps, of_stage, keep, *, training):
        assert training
        assert keep.shape == (len(of_stage), 4, 2, 3)
        rates.extend(of_stage)
        return maps

    monkeypatch.setattr(hrnet, "draw_paths", draw)
    monkeypatch.setattr(Stage, "__call__", record)
    model = nnx.eval_shape(lambda: Hrnet(config, dtype=FLOAT32, rngs=initial_rngs(0)))
    model.stem, model.bottlenecks = nnx.List([]), nnx.List([])
    model(jnp.zeros((3, 8, 8, 3)), key=jax.random.key(0))
    np.testing.assert_allclose(rates, np.linspace(0, 0.7, 4), atol=1e-7)
    ((shape, of_branch, photos, rows),) = draws
    assert (shape, photos, rows) == ((4, 4, 2), 3, None)
    np.testing.assert_allclose(of_branch, np.broadcast_to(np.array(rates)[:, None, None], shape), atol=1e-6)


def test_a_block_drops_what_it_does_not_keep():
    """Attention of one photo, the MLP of the other; with batch norms as outside training, what stays is doubled."""
    block = drawn(lambda: HrformerBlock(CONFIG, 0, dtype=FLOAT32, rngs=initial_rngs(0)))
    block.mlp.up.norm.variance[...] = block.mlp.depthwise.norm.variance[...] = jnp.ones(16)
    block.mlp.down.norm.variance[...] = jnp.ones(8)
    x = normal(2, 5, 6, 8)

    @jax.jit
    def run(block, x):
        attended = block.attention(block.norm1(x))
        only_attention = x + 2 * attended
        only_mlp = x + 2 * block.mlp(block.norm2(x), training=False)
        keep = jnp.array([[True, False], [False, True]])
        return block(x, training=False, rate=0.5, keep=keep), only_attention, only_mlp

    found, only_attention, only_mlp = run(block, x)
    np.testing.assert_allclose(found[0], only_attention[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[1], only_mlp[1], rtol=1e-4, atol=1e-4)


def test_layers_are_numbered_by_block():
    """Every parameter has one; branches side by side are of one layer."""
    ids = TINY.layer_ids("encoder")
    layers = {path: first_match(f"encoder/{path}", ids) for path in shapes_of(TINY)}
    assert set(layers.values()) == set(range(TINY.layers))
    assert {layer for path, layer in layers.items() if path.startswith(("stem", "bottlenecks"))} == {0}
    for path, layer in (
        ("stages/0/transition/same/conv/kernel", 1),
        ("stages/0/modules/0/branches/1/1/attention/qkv/kernel", 2),
        ("stages/0/modules/0/fuse/0/up/0/conv/kernel", 2),
        ("stages/1/modules/1/branches/0/0/norm1/scale", 5),
        ("stages/1/modules/1/branches/2/0/norm1/scale", 5),
        ("stages/2/transition/down/norm/scale", 7),
        ("stages/2/modules/0/fuse/3/down/0/2/mix/conv/kernel", 8),
    ):
        assert layers[path] == layer


def test_bad_sizes_are_refused():
    with pytest.raises(UserError, match=r"model\.encoder\.widths\[1\] is 65; it must be a positive multiple of 2"):
        HrnetConfig(widths=(32, 65, 128, 256))
    with pytest.raises(UserError, match=r"model\.encoder\.drop_path is 0\.1; blocks that are BASIC drop none"):
        HrnetConfig(block=BranchBlock.BASIC, drop_path=0.1)
