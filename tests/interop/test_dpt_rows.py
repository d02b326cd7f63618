"""Keys of DPT's files: complete in both layouts, and the authors', part by part."""

import dataclasses
import re

import numpy as np
import pytest

from samjax.core.errors import UserError
from samjax.core.tree import matches
from samjax.interop.mapping import Naming, arrays_from_torch, arrays_to_torch, write_out
from samjax.interop.tables.dpt_rows import AUTHORS, HUB, UNUSED, dpt_rows, dpt_slots
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.all_mlp import AllMlpConfig
from samjax.models.heads.dpt import DptDepthConfig, DptSegmentationConfig
from samjax.models.resnet import ResNetConfig
from samjax.models.vit.dpt_vit import DptVitConfig
from samjax.nn.structure import array_shapes

PLAIN = DptVitConfig(width=8, depth=4, heads=2, taps=(0, 1, 2, 3), table_size=(64, 64))
RESNET = ResNetConfig(stem=4, widths=(16, 16, 32), depths=(1, 1, 2), groups=4)
HYBRID = dataclasses.replace(PLAIN, taps=(1, 3), resnet=RESNET)
CHANNELS = {PLAIN: (2, 4, 6, 8), HYBRID: (0, 0, 6, 8)}


def config_of(encoder: DptVitConfig, head: type) -> DenseConfig:
    classes = 1 if head is DptDepthConfig else 3
    return DenseConfig(
        encoder=encoder, head=head(width=4, map_widths=CHANNELS[encoder]), classes=classes, image_size=(64, 64)
    )


def exported(name: str, config: DenseConfig):
    """Drawn arrays, the table, and the state dict they give."""
    shapes, draw = array_shapes(config.make), np.random.default_rng(0)
    arrays = {path: draw.normal(size=shape).astype(np.float32) for path, shape in shapes.items()}
    rows = dpt_rows(config, prefixes={name: "model."})
    table = write_out(rows, dpt_slots(config), Naming(name=name, title=name, signs=()))
    return arrays, table, arrays_to_torch(table, arrays, shapes)


@pytest.mark.parametrize("name", [AUTHORS, HUB])
@pytest.mark.parametrize(("encoder", "head"), [(PLAIN, DptSegmentationConfig), (HYBRID, DptDepthConfig)])
def test_every_array_goes_out_and_comes_back(name, encoder, head):
    config = config_of(encoder, head)
    arrays, table, state_dict = exported(name, config)
    back = arrays_from_torch(table, state_dict, array_shapes(config.make))
    assert back.keys() == arrays.keys()
    for path, array in arrays.items():
        np.testing.assert_array_equal(back[path], array, err_msg=path)
    used = {key.removeprefix("model.") for key in state_dict if key.startswith("model.")}
    assert len(used) == len(state_dict)
    auxiliary = {key for key in used if key.startswith("aux")}
    assert bool(auxiliary) == (head is DptSegmentationConfig)
    assert {key for key in used if any(matches(key, pattern) for pattern in UNUSED[name])} == auxiliary


def parts(state_dict: dict[str, np.ndarray], start: str) -> set[str]:
    """Return the layers whose keys begin so, without `weight` and `bias`."""
    keys = (key.removeprefix("model.") for key in state_dict)
    return {key.removeprefix(start).rpartition(".")[0] for key in keys if key.startswith(start)}


def test_the_authors_keys():
    """Of Large's for segmentation: four readouts, each map resized but the third. Of a hybrid's for depth: two maps as
    they are, no batch norm."""
    plain = exported(AUTHORS, config_of(PLAIN, DptSegmentationConfig))[2]
    hybrid = exported(AUTHORS, config_of(HYBRID, DptDepthConfig))[2]
    outside = {f"{one}.{end}" for one in (*range(1, 5),) for end in ("0.project.0", "3", "4")} - {"3.4"}
    assert parts(plain, "pretrained.act_postprocess") == outside
    assert parts(hybrid, "pretrained.act_postprocess") == {"3.0.project.0", "3.3", "4.0.project.0", "4.3", "4.4"}
    block = {"norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"}
    assert parts(plain, "pretrained.model.blocks.") == {f"{i}.{part}" for i in range(4) for part in block}
    assert plain["model.pretrained.model.pos_embed"].shape == (1, 17, 8)
    assert plain["model.pretrained.model.cls_token"].shape == (1, 1, 8)
    assert plain["model.pretrained.model.patch_embed.proj.weight"].shape == (8, 3, 16, 16)
    assert hybrid["model.pretrained.model.patch_embed.proj.weight"].shape == (8, 32, 1, 1)
    conv = {"conv1", "norm1", "conv2", "norm2", "conv3", "norm3"}
    expected = {f"{stage}.blocks.{block}.{one}" for stage, block in ((0, 0), (1, 0), (2, 0), (2, 1)) for one in conv}
    expected |= {f"{stage}.blocks.0.downsample.{one}" for stage in range(3) for one in ("conv", "norm")}
    assert parts(hybrid, "pretrained.model.patch_embed.backbone.stages.") == expected
    assert parts(hybrid, "pretrained.model.patch_embed.backbone.stem.") == {"conv", "norm"}
    unit = {f"resConfUnit{unit}.{part}{i}" for unit in (1, 2) for part in ("conv", "bn") for i in (1, 2)}
    deepest = {one for one in unit if "Unit1" not in one}
    refinements = {f"{i}.{part}" for i in (1, 2, 3) for part in unit} | {f"4.{part}" for part in deepest}
    assert parts(plain, "scratch.refinenet") == refinements | {f"{i}.out_conv" for i in range(1, 5)}
    assert parts(plain, "scratch.layer") == {f"{i}_rn" for i in range(1, 5)}
    assert parts(plain, "scratch.output_conv.") == parts(plain, "auxlayer.") == {"0", "1", "4"}
    assert parts(hybrid, "scratch.output_conv.") == {"0", "2", "4"}
    assert not any(re.search(r"bn\d|auxlayer", key) for key in hybrid)


def test_what_files_have_besides_is_known():
    """A last norm, timm's classifier, the deepest fusion's first unit, and batch norms' counters."""
    besides = {
        AUTHORS: (
            "pretrained.model.norm.weight",
            "pretrained.model.head.bias",
            "scratch.refinenet4.resConfUnit1.conv2.bias",
            "scratch.refinenet1.resConfUnit2.bn1.num_batches_tracked",
        ),
        HUB: (
            "dpt.layernorm.bias",
            "neck.fusion_stage.layers.0.residual_layer1.convolution2.bias",
            "neck.fusion_stage.layers.3.residual_layer2.batch_norm1.num_batches_tracked",
        ),
    }
    for name, keys in besides.items():
        assert all(any(matches(key, pattern) for pattern in UNUSED[name]) for key in keys)


def test_other_models_are_refused():
    with pytest.raises(UserError, match=r"model\.encoder is PyramidConfig; DPT has DptVitConfig"):
        dpt_rows(DenseConfig(), prefixes={AUTHORS: ""})
    with pytest.raises(UserError, match=r"model\.head is AllMlpConfig; DPT has DptDepthConfig or DptSeg"):
        dpt_rows(dataclasses.replace(config_of(PLAIN, DptDepthConfig), head=AllMlpConfig()), prefixes={AUTHORS: ""})
