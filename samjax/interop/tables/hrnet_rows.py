"""HRNet's and HRFormer's weights: which PyTorch key is which of our paths; the authors of both use one layout."""

from collections.abc import Mapping

from samjax.interop.axes import FROM_HEADS, INTO_HEADS, INTO_HEADS_BIAS, OFFSETS
from samjax.interop.mapping import Row, Slot
from samjax.interop.tables.conv_norm_rows import COUNTERS, conv_norm_rows, layer_rows, norm_rows, row
from samjax.models.hrnet.hrnet_sizes import BranchBlock, Fuse, HrnetSizes

AUTHORS = "hrnet"
"""Name of the layout."""

UNUSED = (COUNTERS, "*relative_position_index", "*incre_modules.*", "*downsamp_modules.*", "*final_layer.*")
"""Patterns of keys that files have and the model does not use: counters, indices that follow from the window, and
the classifier's layers, of which `classifier.*` is left to the caller: segmentation files have keys like it."""


def hrnet_slots(config: HrnetSizes) -> dict[str, list[Slot]]:
    """Return no stacks: every block has arrays of its own."""
    return {}


def hrnet_rows(config: HrnetSizes, *, prefixes: Mapping[str, str]) -> tuple[Row, ...]:
    """Return the rows of a network whose paths begin with `stem`, `bottlenecks` and `stages`.

    Args:
      config: which arrays there are depends on it.
      prefixes: what its keys begin with, by the name of the layout, such as `{AUTHORS: "backbone."}`.
    """
    rows = []
    for number in (1, 2):
        rows += conv_norm_rows(f"stem/{number - 1}", (f"conv{number}", f"bn{number}"), prefixes, kernel=3)
    for index in range(config.bottlenecks):
        path, key = f"bottlenecks/{index}", f"layer1.{index}"
        for number, (part, kernel) in enumerate((("reduce", 1), ("spatial", 3), ("expand", 1)), start=1):
            rows += conv_norm_rows(
                f"{path}/{part}", (f"{key}.conv{number}", f"{key}.bn{number}"), prefixes, kernel=kernel
            )
        if index == 0:
            keys = (f"{key}.downsample.0", f"{key}.downsample.1")
            rows += conv_norm_rows(f"{path}/shortcut", keys, prefixes, kernel=1)
    for stage, modules in enumerate(config.modules):
        rows += _transition(stage, prefixes)
        for module in range(modules):
            path, key = f"stages/{stage}/modules/{module}", f"stage{stage + 2}.{module}"
            rows += _module(config, stage + 2, path, key, prefixes)
    return tuple(rows)


def _transition(stage: int, prefixes: Mapping[str, str]) -> list[Row]:
    """Return the rows of a stage's transition: that to a new branch, and in the first stage that of the old one."""
    path, key = f"stages/{stage}/transition", f"transition{stage + 1}"
    new = f"{key}.{stage + 1}.0"
    rows = conv_norm_rows(f"{path}/down", (f"{new}.0", f"{new}.1"), prefixes, kernel=3)
    if stage == 0:
        rows += conv_norm_rows(f"{path}/same", (f"{key}.0.0", f"{key}.0.1"), prefixes, kernel=3)
    return rows


def _module(config: HrnetSizes, branches: int, path: str, key: str, prefixes: Mapping[str, str]) -> list[Row]:
    rows = []
    block = _basic_block if config.block is BranchBlock.BASIC else _transformer_block
    for branch in range(branches):
        for index in range(config.blocks):
            rows += block(f"{path}/branches/{branch}/{index}", f"{key}.branches.{branch}.{index}", prefixes)
    for target in range(branches):
        into, layers = f"{path}/fuse/{target}", f"{key}.fuse_layers.{target}"
        for finer in range(target):
            for step in range(target - finer):
                own = f"{into}/down/{finer}/{step}"
                rows += _down_step(config.fuse, own, f"{layers}.{finer}.{step}", prefixes)
        for coarser in range(target + 1, branches):
            keys = (f"{layers}.{coarser}.0", f"{layers}.{coarser}.1")
            rows += conv_norm_rows(f"{into}/up/{coarser - target - 1}", keys, prefixes, kernel=1)
    return rows


def _down_step(fuse: Fuse, path: str, key: str, prefixes: Mapping[str, str]) -> list[Row]:
    if fuse is Fuse.PLAIN:
        return conv_norm_rows(f"{path}/mix", (f"{key}.0", f"{key}.1"), prefixes, kernel=3)
    return [
        *conv_norm_rows(f"{path}/depthwise", (f"{key}.0", f"{key}.1"), prefixes, kernel=3),
        *conv_norm_rows(f"{path}/mix", (f"{key}.2", f"{key}.3"), prefixes, kernel=1),
    ]


def _basic_block(path: str, key: str, prefixes: Mapping[str, str]) -> list[Row]:
    return [
        *conv_norm_rows(f"{path}/first", (f"{key}.conv1", f"{key}.bn1"), prefixes, kernel=3),
        *conv_norm_rows(f"{path}/second", (f"{key}.conv2", f"{key}.bn2"), prefixes, kernel=3),
    ]


def _transformer_block(path: str, key: str, prefixes: Mapping[str, str]) -> list[Row]:
    attention, own = f"{path}/attention", f"{key}.attn.attn"
    rows = [
        *norm_rows(f"{path}/norm1", f"{key}.norm1", prefixes),
        *norm_rows(f"{path}/norm2", f"{key}.norm2", prefixes),
    ]
    for index, part in enumerate(("q_proj", "k_proj", "v_proj")):
        kernel, bias = f"{own}.{part}.weight", f"{own}.{part}.bias"
        rows.append(row(f"{attention}/qkv/kernel", kernel, INTO_HEADS, prefixes, within=(None, index)))
        rows.append(row(f"{attention}/qkv/bias", bias, INTO_HEADS_BIAS, prefixes, within=(index,)))
    rows += layer_rows(f"{attention}/out", f"{own}.out_proj", FROM_HEADS, prefixes)
    rows.append(row(f"{attention}/offsets", f"{own}.relative_position_bias_table", OFFSETS, prefixes))
    for part, conv, norm, kernel in (
        ("up", "fc1", "norm1", 1),
        ("depthwise", "dw3x3", "norm2", 3),
        ("down", "fc2", "norm3", 1),
    ):
        keys = (f"{key}.mlp.{conv}", f"{key}.mlp.{norm}")
        rows += conv_norm_rows(f"{path}/mlp/{part}", keys, prefixes, kernel=kernel, bias=True)
    return rows
