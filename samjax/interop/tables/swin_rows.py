"""Swin transformers' weights: which PyTorch key is which of our paths, the authors' and transformers'."""

from collections.abc import Mapping

from samjax.interop.axes import (
    CONVOLUTION,
    FROM_HEADS,
    INTO_HEADS,
    INTO_HEADS_BIAS,
    LINEAR,
    OFFSETS,
    QKV,
    QKV_BIAS,
    VECTOR,
    Layout,
)
from samjax.interop.mapping import Row, Slot
from samjax.models.swin.swin_sizes import SwinSizes

AUTHORS, TRANSFORMERS = "swin", "swin-transformers"
"""Names of the layouts."""

_PLACES: Mapping[str, tuple[str, str, str, str]] = {
    AUTHORS: ("patch_embed.proj", "patch_embed.norm", "layers.{stage}", "norm{stage}"),
    TRANSFORMERS: (
        "embeddings.patch_embeddings.projection",
        "embeddings.norm",
        "encoder.layers.{stage}",
        "hidden_states_norms.stage{number}",
    ),
}
"""Where each layout has the photo's patches, their norm, a stage, and its map's norm."""

_BLOCK: Mapping[str, Mapping[str, str]] = {
    AUTHORS: {
        "norm1": "norm1",
        "norm2": "norm2",
        "attention/qkv": "attn.qkv",
        "attention/offsets": "attn.relative_position_bias_table",
        "attention/out": "attn.proj",
        "mlp/up": "mlp.fc1",
        "mlp/down": "mlp.fc2",
    },
    TRANSFORMERS: {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attention/query": "attention.self.query",
        "attention/key": "attention.self.key",
        "attention/value": "attention.self.value",
        "attention/offsets": "attention.self.relative_position_bias_table",
        "attention/out": "attention.output.dense",
        "mlp/up": "intermediate.dense",
        "mlp/down": "output.dense",
    },
}
"""Each part of a block by layout; queries, keys and values are one array here and at the authors', three in
transformers."""


def swin_slots(config: SwinSizes) -> dict[str, list[Slot]]:
    """Return the blocks of every stage, by the stage's placeholder: even ones tile the map, odd ones are shifted."""
    return {
        f"block{stage}": [
            Slot(number=number, folder=("tiled", "shifted")[number % 2], index=(number // 2,))
            for number in range(depth)
        ]
        for stage, depth in enumerate(config.depths)
    }


def swin_rows(config: SwinSizes, *, prefixes: Mapping[str, str]) -> tuple[Row, ...]:
    """Return the rows of an encoder whose paths begin with `stages`.

    Args:
      config: which arrays there are depends on it.
      prefixes: what its keys begin with, by the name of each layout that is wanted, such as `backbone.`.
    """
    return tuple(row for stage in range(len(config.depths)) for row in _stage(config, stage, prefixes))


def _stage(config: SwinSizes, stage: int, prefixes: Mapping[str, str]) -> list[Row]:
    def keys(place: int, end: str, *, of: int = stage) -> dict[str, tuple[str, ...]]:
        return {
            layout: (f"{prefix}{_PLACES[layout][place].format(stage=of, number=of + 1)}.{end}",)
            for layout, prefix in prefixes.items()
        }

    def of_block(part: str, end: str) -> dict[str, tuple[str, ...]]:
        found = {}
        for layout, prefix in prefixes.items():
            if part in _BLOCK[layout]:
                start = _PLACES[layout][2].format(stage=stage)
                found[layout] = (f"{prefix}{start}.blocks.{{block{stage}}}.{_BLOCK[layout][part]}{end}",)
        return found

    def array(path: str, kind: Layout, names: Mapping[str, tuple[str, ...]], **within) -> Row:
        return Row(path=f"stages/{stage}/{path}", layout=kind, names=names, **within)

    def in_block(part: str, name: str, kind: Layout, end: str, *, into: str = "", **within) -> Row:
        return array(f"pairs/{{block{stage}}}/{into or part}/{name}", kind, of_block(part, end), **within)

    if stage == 0:
        rows = [
            array("patches/project/kernel", CONVOLUTION, keys(0, "weight")),
            array("patches/project/bias", VECTOR, keys(0, "bias")),
            array("patches/norm/scale", VECTOR, keys(1, "weight")),
            array("patches/norm/bias", VECTOR, keys(1, "bias")),
        ]
    else:  # with the stage before in both layouts
        rows = [
            array("patches/norm/scale", VECTOR, keys(2, "downsample.norm.weight", of=stage - 1)),
            array("patches/norm/bias", VECTOR, keys(2, "downsample.norm.bias", of=stage - 1)),
            array("patches/reduce/kernel", LINEAR, keys(2, "downsample.reduction.weight", of=stage - 1)),
        ]
    for norm in ("norm1", "norm2"):
        rows += [in_block(norm, "scale", VECTOR, ".weight"), in_block(norm, "bias", VECTOR, ".bias")]
    whole = "attention/qkv"
    rows += [in_block(whole, "kernel", QKV, ".weight"), in_block(whole, "bias", QKV_BIAS, ".bias")]
    for index, part in enumerate(("attention/query", "attention/key", "attention/value")):
        rows += [
            in_block(part, "kernel", INTO_HEADS, ".weight", into=whole, within=(None, index)),
            in_block(part, "bias", INTO_HEADS_BIAS, ".bias", into=whole, within=(index,)),
        ]
    for part, kind in {"attention/out": FROM_HEADS, "mlp/up": LINEAR, "mlp/down": LINEAR}.items():
        rows += [in_block(part, "kernel", kind, ".weight"), in_block(part, "bias", VECTOR, ".bias")]
    offsets = f"pairs/{{block{stage}}}/attention/offsets"
    rows.append(array(offsets, OFFSETS, of_block("attention/offsets", "")))
    if stage in config.maps:
        rows += [array("norm/scale", VECTOR, keys(3, "weight")), array("norm/bias", VECTOR, keys(3, "bias"))]
    return rows
