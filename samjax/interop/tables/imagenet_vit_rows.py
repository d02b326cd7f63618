"""Plain ViTs trained on ImageNet, as backbones: which key of timm's files and of AugReg's is which of our paths.

AugReg's (github.com/google-research/vision_transformer) are Flax's, whose kernels lie as ours do; q, k and v are three.
"""

from samjax.interop.axes import MATRIX, POSITION_ROWS, TOKEN, VECTOR, Layout
from samjax.interop.mapping import Naming, Row
from samjax.interop.tables.conv_norm_rows import norm_rows
from samjax.interop.tables.vit_rows import Dialect, vit_rows
from samjax.models.vit.tapped_vit import TappedVitConfig

_SIGNS = ("encoder/position", "encoder/class_token", "encoder/norms/0/scale", "encoder/groups/full/mlp/up/kernel")
_PART = "the backbone"

TIMM = Naming(
    name="imagenet-vit",
    title="a plain ViT's, as timm and DeiT name it",
    signs=_SIGNS,
    part=_PART,
    unused_patterns=("head.*", "head_dist.*", "pre_logits.*"),
)
AUGREG = Naming(
    name="augreg",
    title="AugReg's ViTs",
    signs=_SIGNS,
    part=_PART,
    unused_patterns=("head/*", "pre_logits/*"),
)

_KERNEL = Layout(torch="kh kw i o", ours="kh kw i o")
_INTO_HEADS, _HEADS = Layout(torch="i e c", ours="i e c"), Layout(torch="e c", ours="e c")
_FROM_HEADS = Layout(torch="e c o", ours="e c o")
_OUTSIDE = {
    "patch_embed/kernel": ("embedding/kernel", _KERNEL),
    "patch_embed/bias": ("embedding/bias", VECTOR),
    "class_token": ("cls", TOKEN),
    "position": ("Transformer/posembed_input/pos_embedding", POSITION_ROWS),
    "norms/0/scale": ("Transformer/encoder_norm/scale", VECTOR),
    "norms/0/bias": ("Transformer/encoder_norm/bias", VECTOR),
}
_ATTENTION = "MultiHeadDotProductAttention_1"
_BLOCK = {
    "norm1/scale": ("LayerNorm_0/scale", VECTOR),
    "norm1/bias": ("LayerNorm_0/bias", VECTOR),
    "attention/out/kernel": (f"{_ATTENTION}/out/kernel", _FROM_HEADS),
    "attention/out/bias": (f"{_ATTENTION}/out/bias", VECTOR),
    "norm2/scale": ("LayerNorm_2/scale", VECTOR),
    "norm2/bias": ("LayerNorm_2/bias", VECTOR),
    "mlp/up/kernel": ("MlpBlock_3/Dense_0/kernel", MATRIX),
    "mlp/up/bias": ("MlpBlock_3/Dense_0/bias", VECTOR),
    "mlp/down/kernel": ("MlpBlock_3/Dense_1/kernel", MATRIX),
    "mlp/down/bias": ("MlpBlock_3/Dense_1/bias", VECTOR),
}


def imagenet_vit_rows(encoder: TappedVitConfig) -> list[Row]:
    """Return the rows of a backbone in both layouts, whose paths begin with `encoder`."""
    timm = {TIMM.name: (Dialect.TIMM, "")}
    rows = vit_rows("encoder/", timm, distillation_token=encoder.distillation_token)
    return [*rows, *norm_rows("encoder/norms/0", "norm", {TIMM.name: ""}), *_augreg_rows()]


def _augreg_rows() -> list[Row]:
    def row(path: str, key: str, layout: Layout, within: tuple[int | None, ...] = ()) -> Row:
        return Row(path=f"encoder/{path}", layout=layout, names={AUGREG.name: (key,)}, within=within)

    block = "Transformer/encoderblock_{block}"
    rows = [row(path, key, layout) for path, (key, layout) in _OUTSIDE.items()]
    rows += [row(f"groups/full/{path}", f"{block}/{key}", layout) for path, (key, layout) in _BLOCK.items()]
    for index, name in enumerate(("query", "key", "value")):
        start = f"{block}/{_ATTENTION}/{name}"
        rows.append(row("groups/full/attention/qkv/kernel", f"{start}/kernel", _INTO_HEADS, (None, index)))
        rows.append(row("groups/full/attention/qkv/bias", f"{start}/bias", _HEADS, (index,)))
    return rows
