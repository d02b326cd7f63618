"""Keys of HRNet, HRFormer, OCR and Semantic FPN: complete both ways, and those of the authors' files."""

import re

import jax.numpy as jnp
import numpy as np
import pytest
from helpers.hrformer_cases import CLASSES, CONFIG, OCR

from samjax.core.tree import matches
from samjax.interop.mapping import Naming, arrays_from_torch, arrays_to_torch, write_out
from samjax.interop.tables import fpn_rows as fpn
from samjax.interop.tables import hrnet_rows as hrnet
from samjax.interop.tables.ocr_rows import ocr_rows
from samjax.models.heads.fpn import FpnConfig, FpnHead
from samjax.models.heads.ocr import OcrConfig, OcrHead
from samjax.models.hrnet.hrnet import Hrnet, HrnetConfig
from samjax.models.hrnet.hrnet_sizes import BranchBlock, Fuse
from samjax.nn.structure import array_shapes

FLOAT32 = jnp.dtype("float32")
BASIC = HrnetConfig(widths=(4, 4, 8, 8), modules=(1, 1, 1), block=BranchBlock.BASIC, fuse=Fuse.PLAIN)
RITM = OcrConfig(width=8, key_width=4, auxiliary_width=12, auxiliary_kernel=1, attention_bias=False)
STRIDES, WIDTHS = (4, 8, 16, 32), (4, 6, 8, 8)


def backbone(config):
    return lambda *, rngs: Hrnet(config, dtype=FLOAT32, rngs=rngs)


def ocr(config):
    return lambda *, rngs: OcrHead(config, channels=WIDTHS, classes=CLASSES, dtype=FLOAT32, rngs=rngs)


def semantic_fpn(*, rngs):
    config = FpnConfig(pyramid_width=8, width=4)
    return FpnHead(config, channels=WIDTHS, strides=STRIDES, classes=CLASSES, dtype=FLOAT32, rngs=rngs)


PREFIXES = {hrnet.AUTHORS: "x."}
CASES = {
    "hrformer": (backbone(CONFIG), hrnet.hrnet_rows(CONFIG, prefixes=PREFIXES), hrnet.AUTHORS),
    "hrnet": (backbone(BASIC), hrnet.hrnet_rows(BASIC, prefixes=PREFIXES), hrnet.AUTHORS),
    "ocr": (ocr(OCR), ocr_rows(OCR, prefixes=PREFIXES), hrnet.AUTHORS),
    "ocr without biases": (ocr(RITM), ocr_rows(RITM, prefixes=PREFIXES), hrnet.AUTHORS),
    "fpn": (semantic_fpn, fpn.fpn_rows(STRIDES, prefixes={fpn.MMSEGMENTATION: "x."}), fpn.MMSEGMENTATION),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in ("hrformer", "hrnet") else name for name in CASES]
)
def test_every_array_goes_out_and_comes_back(name):
    make, rows, layout = CASES[name]
    shapes = array_shapes(make)
    table = write_out(rows, {}, Naming(name=layout, title=name, signs=()))
    draw = np.random.default_rng(0)
    arrays = {path: draw.normal(size=shape).astype(np.float32) for path, shape in shapes.items()}
    state = arrays_to_torch(table, arrays, shapes)
    assert all(key.startswith("x.") for key in state)
    back = arrays_from_torch(table, state, shapes)
    assert back.keys() == arrays.keys()
    for path, array in arrays.items():
        np.testing.assert_array_equal(back[path], array, err_msg=path)


def test_keys_of_hrformer():
    """With numbers left out."""
    _, rows, _ = CASES["hrformer"]
    keys = {re.sub(r"\.\d+", ".N", key.removeprefix("x.")) for row in rows for key in row.names[hrnet.AUTHORS]}
    block = {key.removeprefix("stage4.N.branches.N.N.") for key in keys if key.startswith("stage4.N.branches")}
    norm, batch_norm = ("weight", "bias"), ("weight", "bias", "running_mean", "running_var")
    expected = {f"attn.attn.{part}_proj.{kind}" for part in ("q", "k", "v", "out") for kind in norm}
    expected |= {f"{part}.{kind}" for part in ("norm1", "norm2", "mlp.fc1", "mlp.dw3x3", "mlp.fc2") for kind in norm}
    expected |= {f"mlp.norm{index}.{kind}" for index in (1, 2, 3) for kind in batch_norm}
    assert block == expected | {"attn.attn.relative_position_bias_table"}
    outside = {key.partition(".")[0] for key in keys}
    stages, transitions = {"stage2", "stage3", "stage4"}, {"transition1", "transition2", "transition3"}
    assert outside == {"conv1", "bn1", "conv2", "bn2", "layer1", *stages, *transitions}


def test_keys_of_files_that_are_not_used():
    for key in (
        "bn1.num_batches_tracked",
        "stage2.0.branches.0.0.attn.attn.relative_position_index",
        "incre_modules.0.0.conv1.weight",
        "downsamp_modules.0.0.weight",
        "final_layer.0.weight",
    ):
        for prefix in ("", "backbone."):
            assert any(matches(prefix + key, pattern) for pattern in hrnet.UNUSED), key
    assert any(matches("decode_head.scale_heads.0.0.bn.num_batches_tracked", pattern) for pattern in fpn.UNUSED)


def test_keys_of_semantic_fpn():
    """Between convolutions stands what doubles the map: numbers rise by two."""
    _, rows, _ = CASES["fpn"]
    keys = {key.rpartition(".")[0].removeprefix("x.") for row in rows for key in row.names[fpn.MMSEGMENTATION]}
    steps = [(0, 0), (1, 0), (2, 0), (2, 2), (3, 0), (3, 2), (3, 4)]
    assert keys == {
        *(f"neck.{part}_convs.{level}.conv" for part in ("lateral", "fpn") for level in range(4)),
        *(f"decode_head.scale_heads.{level}.{step}.{part}" for level, step in steps for part in ("conv", "bn")),
        "decode_head.conv_seg",
    }
