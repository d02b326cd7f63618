"""Pyramid vision transformers' weights: which PyTorch key is which of our paths, the authors' and transformers'."""

from collections.abc import Mapping

from samjax.interop.axes import (
    CLASS_AND_POSITIONS,
    CONVOLUTION,
    FROM_HEADS,
    INTO_HEADS,
    INTO_HEADS_BIAS,
    LINEAR,
    QKV,
    QKV_BIAS,
    VECTOR,
    Layout,
)
from samjax.interop.mapping import Row, Slot, plain_slots
from samjax.models.pyramid.pyramid_sizes import PyramidSizes

AUTHORS, SEGFORMER, PVT, PVT_V2 = "pyramid", "segformer-transformers", "pvt-transformers", "pvt-v2-transformers"
"""Names of the layouts: that of all authors, and transformers' of each model."""

_POSITIONS = Layout(torch="1 (h w) c", ours="h w c")
_LINEARS, _NORMS, _CONVOLUTIONS = (
    ("mlp/up", "mlp/down"),
    ("norm1", "norm2", "attention/norm"),
    ("attention/reduce", "mlp/depthwise"),
)

_HUB_MLP = {"mlp/up": "mlp.dense1", "mlp/depthwise": "mlp.dwconv.dwconv", "mlp/down": "mlp.dense2"}
_HUB_NORMS = {"norm1": "layer_norm_1", "norm2": "layer_norm_2"}
_BLOCK: Mapping[str, Mapping[str, str]] = {
    AUTHORS: {
        "norm1": "norm1",
        "norm2": "norm2",
        "attention/query": "attn.q",
        "attention/key_value": "attn.kv",
        "attention/reduce": "attn.sr",
        "attention/norm": "attn.norm",
        "attention/out": "attn.proj",
        "mlp/up": "mlp.fc1",
        "mlp/depthwise": "mlp.dwconv.dwconv",
        "mlp/down": "mlp.fc2",
    },
    SEGFORMER: {
        **_HUB_NORMS,
        **_HUB_MLP,
        "attention/query": "attention.self.query",
        "attention/key": "attention.self.key",
        "attention/value": "attention.self.value",
        "attention/reduce": "attention.self.sr",
        "attention/norm": "attention.self.layer_norm",
        "attention/out": "attention.output.dense",
    },
    PVT_V2: {
        **_HUB_NORMS,
        **_HUB_MLP,
        "attention/query": "attention.query",
        "attention/key": "attention.key",
        "attention/value": "attention.value",
        "attention/reduce": "attention.spatial_reduction",
        "attention/norm": "attention.layer_norm",
        "attention/out": "attention.proj",
    },
}
_BLOCK = _BLOCK | {PVT: _BLOCK[SEGFORMER] | {"attention/reduce": "attention.self.sequence_reduction"}}
"""Each part of a block by layout; keys and values are one array here and at the authors', two in transformers."""

_PLACES: Mapping[str, tuple[str, str, str, str]] = {
    AUTHORS: ("block{number}.{{block{stage}}}", "patch_embed{number}.proj", "patch_embed{number}.norm", "norm{number}"),
    SEGFORMER: (
        "encoder.block.{stage}.{{block{stage}}}",
        "encoder.patch_embeddings.{stage}.proj",
        "encoder.patch_embeddings.{stage}.layer_norm",
        "encoder.layer_norm.{stage}",
    ),
    PVT: (
        "encoder.block.{stage}.{{block{stage}}}",
        "encoder.patch_embeddings.{stage}.projection",
        "encoder.patch_embeddings.{stage}.layer_norm",
        "",
    ),
    PVT_V2: (
        "encoder.layers.{stage}.blocks.{{block{stage}}}",
        "encoder.layers.{stage}.patch_embedding.proj",
        "encoder.layers.{stage}.patch_embedding.layer_norm",
        "encoder.layers.{stage}.layer_norm",
    ),
}
"""Where each layout has a stage's blocks, patches, their norm, and the stage's own."""


def pyramid_slots(config: PyramidSizes) -> dict[str, list[Slot]]:
    """Return the layers of every stack, by the stack's placeholder."""
    return {f"block{stage}": plain_slots(depth) for stage, depth in enumerate(config.depths)}


def pyramid_rows(config: PyramidSizes, *, prefixes: Mapping[str, str]) -> tuple[Row, ...]:
    """Return the rows of an encoder whose paths begin with `stages`.

    Args:
      config: which arrays there are depends on it.
      prefixes: what its keys begin with, by the name of each layout that is wanted, such as `backbone.`.
    """
    return tuple(row for stage in range(len(config.depths)) for row in _stage(config, stage, prefixes))


def _stage(config: PyramidSizes, stage: int, prefixes: Mapping[str, str]) -> list[Row]:
    def keys(place: int, end: str, part: str | None = None) -> dict[str, tuple[str, ...]]:
        found = {}
        for layout, prefix in prefixes.items():
            start = _PLACES[layout][place].format(stage=stage, number=stage + 1)
            name = "" if part is None else _BLOCK[layout].get(part)
            if start and name is not None:
                found[layout] = (f"{prefix}{start}.{name + '.' if name else ''}{end}",)
        return found

    def array(path: str, kind: Layout, names: Mapping[str, tuple[str, ...]], **within) -> Row:
        return Row(path=f"stages/{stage}/{path}", layout=kind, names=names, **within)

    rows = [
        array("patches/project/kernel", CONVOLUTION, keys(1, "weight")),
        array("patches/project/bias", VECTOR, keys(1, "bias")),
        *_norm(array, "patches/norm", lambda end: keys(2, end)),
    ]
    if not config.overlapping:
        is_last = stage == len(config.depths) - 1
        tables = {AUTHORS: f"pos_embed{stage + 1}", PVT: f"encoder.patch_embeddings.{stage}.position_embeddings"}
        names = {layout: (prefix + tables[layout],) for layout, prefix in prefixes.items() if layout in tables}
        rows.append(array("patches/position", CLASS_AND_POSITIONS if is_last else _POSITIONS, names))
    for part in _parts(config, stage):
        path, into = f"blocks/{part}", lambda end, part=part: keys(0, end, part)
        if part in _NORMS:
            rows += _norm(array, path, into)
            continue
        if part == "attention/key_value":
            rows.append(array(f"{path}/kernel", QKV, into("weight")))
            rows.append(array(f"{path}/bias", QKV_BIAS, into("bias")))
            for index, one in enumerate(("attention/key", "attention/value")):
                weights, biases = keys(0, "weight", one), keys(0, "bias", one)
                rows.append(array(f"{path}/kernel", INTO_HEADS, weights, within=(None, index)))
                rows.append(array(f"{path}/bias", INTO_HEADS_BIAS, biases, within=(index,)))
            continue
        kinds = {"attention/query": INTO_HEADS, "attention/out": FROM_HEADS}
        kind = LINEAR if part in _LINEARS else CONVOLUTION if part in _CONVOLUTIONS else kinds[part]
        rows.append(array(f"{path}/kernel", kind, into("weight")))
        rows.append(array(f"{path}/bias", INTO_HEADS_BIAS if kind is INTO_HEADS else VECTOR, into("bias")))
    if config.overlapping:
        rows += _norm(array, "norm", lambda end: keys(3, end))
    return rows


def _norm(array, path: str, keys) -> list[Row]:
    return [array(f"{path}/scale", VECTOR, keys("weight")), array(f"{path}/bias", VECTOR, keys("bias"))]


def _parts(config: PyramidSizes, stage: int) -> list[str]:
    """Return the parts that a block of the stage has."""
    left_out = set() if config.is_reduced(stage) else {"attention/reduce", "attention/norm"}
    left_out |= set() if config.overlapping else {"mlp/depthwise"}
    return [part for part in _BLOCK[AUTHORS] if part not in left_out]
