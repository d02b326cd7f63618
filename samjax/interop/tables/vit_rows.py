"""A plain ViT's weights: which PyTorch key is which of our paths, as timm, transformers and mmsegmentation have it."""

import enum
from collections.abc import Mapping

from samjax.interop.axes import (
    CLASS_AND_POSITIONS,
    CONVOLUTION,
    FROM_HEADS,
    INTO_HEADS,
    INTO_HEADS_BIAS,
    LINEAR,
    POSITION_ROWS,
    QKV,
    QKV_BIAS,
    TOKEN,
    VECTOR,
    Layout,
)
from samjax.interop.mapping import Row


class Dialect(enum.Enum):
    """Whose names the parts of a ViT have."""

    TIMM = 0
    """timm's, which most authors build on."""
    TRANSFORMERS = 1
    """transformers', as files have them."""
    MMSEGMENTATION = 2


_PARTS = {
    "norm1": ("norm1", "layernorm_before", "ln1"),
    "attention/out": ("attn.proj", "attention.output.dense", "attn.attn.out_proj"),
    "norm2": ("norm2", "layernorm_after", "ln2"),
    "mlp/up": ("mlp.fc1", "intermediate.dense", "ffn.layers.0.0"),
    "mlp/down": ("mlp.fc2", "output.dense", "ffn.layers.1"),
}
"""A part of a block in each dialect."""
_QKV = {Dialect.TIMM: "attn.qkv.{}", Dialect.MMSEGMENTATION: "attn.attn.in_proj_{}"}
"""Weight and bias of queries, keys and values where they are one projection, as here."""
_PROJECTIONS = {Dialect.TRANSFORMERS: "attention.attention.{}.{}"}
"""The same where they are three."""
_KERNELS = {"attention/out": FROM_HEADS, "mlp/up": LINEAR, "mlp/down": LINEAR}
_EMBEDDINGS = {
    "patch_embed": ("patch_embed.proj", "embeddings.patch_embeddings.projection", "patch_embed.projection"),
    "class_token": ("cls_token", "embeddings.cls_token", "cls_token"),
    "distillation_token": ("dist_token", "embeddings.distillation_token", "dist_token"),
    "position": ("pos_embed", "embeddings.position_embeddings", "pos_embed"),
}
_BLOCKS = ("blocks", "encoder.layer", "layers")

Prefixes = Mapping[str, tuple[Dialect, str]]
"""Whose names a layout has, and what its keys begin with, by the name of each layout that is wanted."""


def vit_rows(
    path: str,
    prefixes: Prefixes,
    *,
    projection: str | None = None,
    patch_bias: bool = True,
    class_token: bool = True,
    distillation_token: bool = False,
) -> list[Row]:
    """Return the rows of a `Vit` whose blocks are all global, but for norms after blocks.

    Args:
      path: what its paths begin with, such as `vit/`.
      prefixes: see `Prefixes`.
      projection: what transformers calls the patch embedding, where it is not `embeddings.patch_embeddings.projection`.
      patch_bias: whether the patch embedding has a bias.
      class_token: whether there is a class token, with a position of its own. Without one a file's table still begins
        with its row, which is ignored, and written as zeros.
      distillation_token: whether DeiT's second token follows it.
    """
    embedding = _EMBEDDINGS["patch_embed"]
    outside = _EMBEDDINGS | {"patch_embed": (embedding[0], projection or embedding[1], embedding[2])}

    def row(part: str, kind: Layout, end: str = "") -> Row:
        keys = outside[part.partition("/")[0]]
        names = {layout: (f"{start}{keys[one.value]}{end}",) for layout, (one, start) in prefixes.items()}
        return Row(path=path + part, layout=kind, names=names)

    return [
        row("patch_embed/kernel", CONVOLUTION, ".weight"),
        *([row("patch_embed/bias", VECTOR, ".bias")] if patch_bias else []),
        *([row("class_token", TOKEN)] if class_token else []),
        *([row("distillation_token", TOKEN)] if distillation_token else []),
        row("position", POSITION_ROWS if class_token else CLASS_AND_POSITIONS),
        *block_rows(f"{path}groups/full", prefixes),
    ]


def block_rows(path: str, prefixes: Prefixes, *, placeholder: str = "block") -> list[Row]:
    """Return the rows of a stack of blocks at `path`, whose layers `placeholder` names."""

    def names(parts: Mapping[Dialect, str], end: str = "") -> dict[str, tuple[str, ...]]:
        return {
            layout: (f"{start}{_BLOCKS[dialect.value]}.{{{placeholder}}}.{parts[dialect]}{end}",)
            for layout, (dialect, start) in prefixes.items()
            if dialect in parts
        }

    rows = []
    for part, of_dialects in _PARTS.items():
        parts, kind = dict(zip(Dialect, of_dialects, strict=True)), _KERNELS.get(part)
        weight = f"{path}/{part}/{'kernel' if kind else 'scale'}"
        rows.append(Row(path=weight, layout=kind or VECTOR, names=names(parts, ".weight")))
        rows.append(Row(path=f"{path}/{part}/bias", layout=VECTOR, names=names(parts, ".bias")))
    kernel, bias = f"{path}/attention/qkv/kernel", f"{path}/attention/qkv/bias"
    weights, biases = ({one: key.format(kind) for one, key in _QKV.items()} for kind in ("weight", "bias"))
    rows.append(Row(path=kernel, layout=QKV, names=names(weights)))
    rows.append(Row(path=bias, layout=QKV_BIAS, names=names(biases)))
    for index, name in enumerate(("query", "key", "value")):
        weights, biases = (
            {one: key.format(name, kind) for one, key in _PROJECTIONS.items()} for kind in ("weight", "bias")
        )
        rows.append(Row(path=kernel, layout=INTO_HEADS, names=names(weights), within=(None, index)))
        rows.append(Row(path=bias, layout=INTO_HEADS_BIAS, names=names(biases), within=(index,)))
    return rows
