"""Masked autoencoders' weights: which PyTorch key is which of our paths, in the release and in transformers."""

from samjax.interop.axes import (
    CLASS_AND_POSITIONS,
    CONVOLUTION,
    FROM_HEADS,
    INTO_HEADS,
    INTO_HEADS_BIAS,
    LINEAR,
    QKV,
    QKV_BIAS,
    TOKEN,
    VECTOR,
    Layout,
)
from samjax.interop.mapping import Naming, Row, Slot, plain_slots
from samjax.models.mae import MaeConfig

_ENCODER = ("encoder/position", "encoder/patch_embed/kernel", "encoder/groups/full/mlp/up/kernel")
_WHOLE = (*_ENCODER, "decoder/position", "decoder/predict/kernel", "decoder/groups/full/mlp/up/kernel")
_MODEL = "transformers' ViTMAEForPreTraining"

RELEASE = Naming(name="mae", title="the release, with its decoder", signs=_WHOLE)
RELEASE_ENCODER = Naming(name="mae-encoder", title="the release", signs=_ENCODER, part="the encoder")
HUB = Naming(name="transformers", title=_MODEL, signs=_WHOLE)
"""As published folders have it, which every version of transformers reads."""
SAVED = Naming(name="transformers-saved", title=f"{_MODEL} as version 5 saves it", signs=_WHOLE)
LIVE = Naming(name="transformers-5", title=f"{_MODEL} as version 5 holds it", signs=_WHOLE)
HUB_ENCODER = Naming(name="transformers-encoder", title="transformers' ViTMAEModel", signs=_ENCODER, part="the encoder")

# Where the blocks of encoder and decoder are, in each naming.
_BLOCKS = {
    RELEASE.name: ("blocks", "decoder_blocks"),
    RELEASE_ENCODER.name: ("blocks", None),
    HUB.name: ("vit.encoder.layer", "decoder.decoder_layers"),
    SAVED.name: ("vit.encoder.layer", "decoder.decoder_encoder.layer"),
    LIVE.name: ("vit.layers", "decoder.decoder_layers"),
    HUB_ENCODER.name: ("encoder.layer", None),
}
# A part of a block: in the release, in transformers' files, in version 5 of transformers.
_PARTS = {
    "norm1": ("norm1", "layernorm_before", "layernorm_before"),
    "attention/out": ("attn.proj", "attention.output.dense", "attention.o_proj"),
    "norm2": ("norm2", "layernorm_after", "layernorm_after"),
    "mlp/up": ("mlp.fc1", "intermediate.dense", "mlp.fc1"),
    "mlp/down": ("mlp.fc2", "output.dense", "mlp.fc2"),
}
_LAYOUTS = {"attention/out": FROM_HEADS, "mlp/up": LINEAR, "mlp/down": LINEAR}
_PROJECTIONS = (("query", "q_proj"), ("key", "k_proj"), ("value", "v_proj"))
_RELEASES = (RELEASE.name, RELEASE_ENCODER.name)


def slots(config: MaeConfig) -> dict[str, list[Slot]]:
    """Return the layers of every stack, by the stack's placeholder."""
    return {"block": plain_slots(config.encoder.depth), "layer": plain_slots(config.decoder.depth)}


def _dialect(naming: str) -> int:
    """Return the column of `_PARTS` that a naming has."""
    return 0 if naming in _RELEASES else 2 if naming == LIVE.name else 1


def _block(half: str) -> list[Row]:
    """Return the rows of the encoder's or the decoder's blocks."""
    column, placeholder = ("encoder", "decoder").index(half), ("{block}", "{layer}")
    starts = {
        naming: f"{place[column]}.{placeholder[column]}"
        for naming, place in _BLOCKS.items()
        if place[column] is not None
    }
    start, rows = f"{half}/groups/full", []

    def keys(kind: str, names: tuple[str, ...], *, releases: bool | None = None) -> dict[str, tuple[str, ...]]:
        return {
            naming: (f"{begin}.{names[_dialect(naming)]}.{kind}",)
            for naming, begin in starts.items()
            if releases is None or (naming in _RELEASES) is releases
        }

    for part, names in _PARTS.items():
        layout = _LAYOUTS.get(part)
        weight = "kernel" if layout else "scale"
        rows.append(Row(path=f"{start}/{part}/{weight}", layout=layout or VECTOR, names=keys("weight", names)))
        rows.append(Row(path=f"{start}/{part}/bias", layout=VECTOR, names=keys("bias", names)))
    kernel, bias = f"{start}/attention/qkv/kernel", f"{start}/attention/qkv/bias"
    rows.append(Row(path=kernel, layout=QKV, names=keys("weight", ("attn.qkv",), releases=True)))
    rows.append(Row(path=bias, layout=QKV_BIAS, names=keys("bias", ("attn.qkv",), releases=True)))
    for index, (old, new) in enumerate(_PROJECTIONS):  # one projection here, three in transformers
        names = ("", f"attention.attention.{old}", f"attention.{new}")
        weights, biases = (keys(kind, names, releases=False) for kind in ("weight", "bias"))
        rows.append(Row(path=kernel, layout=INTO_HEADS, names=weights, within=(None, index)))
        rows.append(Row(path=bias, layout=INTO_HEADS_BIAS, names=biases, within=(index,)))
    return rows


def _encoder(path: str, layout: Layout, release: str, transformers: str) -> Row:
    names = dict.fromkeys(_RELEASES, (release,)) | dict.fromkeys(
        (HUB.name, SAVED.name, LIVE.name), (f"vit.{transformers}",)
    )
    return Row(path=f"encoder/{path}", layout=layout, names=names | {HUB_ENCODER.name: (transformers,)})


def _decoder(path: str, layout: Layout, name: str) -> Row:
    """A row of the decoder, whose arrays outside its blocks are called the same everywhere."""
    in_transformers = dict.fromkeys((HUB.name, SAVED.name, LIVE.name), (f"decoder.{name}",))
    return Row(path=f"decoder/{path}", layout=layout, names={RELEASE.name: (name,)} | in_transformers)


MAE_ROWS: tuple[Row, ...] = (
    _encoder("class_token", TOKEN, "cls_token", "embeddings.cls_token"),
    _encoder("position", CLASS_AND_POSITIONS, "pos_embed", "embeddings.position_embeddings"),
    _encoder(
        "patch_embed/kernel", CONVOLUTION, "patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight"
    ),
    _encoder("patch_embed/bias", VECTOR, "patch_embed.proj.bias", "embeddings.patch_embeddings.projection.bias"),
    *_block("encoder"),
    _encoder("norm/scale", VECTOR, "norm.weight", "layernorm.weight"),
    _encoder("norm/bias", VECTOR, "norm.bias", "layernorm.bias"),
    _decoder("embed/kernel", LINEAR, "decoder_embed.weight"),
    _decoder("embed/bias", VECTOR, "decoder_embed.bias"),
    _decoder("mask_token", TOKEN, "mask_token"),
    _decoder("position", CLASS_AND_POSITIONS, "decoder_pos_embed"),
    *_block("decoder"),
    _decoder("norm/scale", VECTOR, "decoder_norm.weight"),
    _decoder("norm/bias", VECTOR, "decoder_norm.bias"),
    _decoder("predict/kernel", LINEAR, "decoder_pred.weight"),
    _decoder("predict/bias", VECTOR, "decoder_pred.bias"),
)
