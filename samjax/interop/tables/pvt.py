"""PVT and PVT v2: the authors' files with Semantic FPN, and the encoder alone of classifiers."""

from collections.abc import Mapping

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.interop.family import Family, Reading, Source
from samjax.interop.mapping import Naming, Row, move_rows
from samjax.interop.tables import fpn_rows as fpn
from samjax.interop.tables import pyramid_rows as pyramid
from samjax.interop.tables.conv_norm_rows import COUNTERS
from samjax.interop.tables.dense_reading import FRAME, beyond_pixels, frame_note, reading, used_part
from samjax.interop.tables.pyramid_geometry import APART, EVERYTHING, first_ratio, pyramid_config, pyramid_name
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.fpn import FpnConfig
from samjax.models.pyramid.pyramid import PyramidConfig

AUTHORS, AUTHORS_ENCODER, HUB_ENCODER, HUB_V2_ENCODER = (
    "pvt",
    "pvt-encoder",
    "pvt-transformers-encoder",
    "pvt-v2-transformers-encoder",
)
"""Names of the layouts."""
PUBLISHED = {
    **{name.title(): getattr(PyramidConfig, f"pvt_{name}")() for name in ("tiny", "small", "medium", "large")},
    **{f"v2 B{number}": getattr(PyramidConfig, f"pvt_v2_b{number}")() for number in range(6)},
    "v2 B2-Li": PyramidConfig.pvt_v2_b2_li(),
}
_ENCODERS = {
    AUTHORS: (pyramid.AUTHORS, "backbone."),
    AUTHORS_ENCODER: (pyramid.AUTHORS, ""),
    HUB_ENCODER: (pyramid.PVT, ""),
    HUB_V2_ENCODER: (pyramid.PVT_V2, ""),
}
"""Of each layout, whose names an encoder's parts have, and what they begin with."""
_ENCODER = ("encoder/stages/0/patches/project/kernel", "encoder/stages/0/blocks/attention/query/kernel")
_TABLE = "encoder/stages/0/patches/position"
_MODEL_TYPES = {HUB_ENCODER: "pvt", HUB_V2_ENCODER: "pvt_v2"}


def pvt_rows(config: DenseConfig) -> tuple[Row, ...]:
    """Return the rows of a model, whose paths begin with `encoder` and `head`; which there are depends on its sizes."""
    rows: list[Row] = []
    for layout, (dialect, start) in _ENCODERS.items():
        own = pyramid.pyramid_rows(config.encoder, prefixes={dialect: start})  # type: ignore[arg-type]
        rows += move_rows(own, "encoder/", {layout: dialect})
    head = fpn.fpn_rows(config.encoder.strides, prefixes={fpn.MMSEGMENTATION: ""})
    return (*rows, *move_rows(head, "head/", {AUTHORS: fpn.MMSEGMENTATION}))


def _read(source: Source) -> Reading:
    used = used_part(source)
    apart, overlapping = (
        Shapes(used.arrays, used.naming, pvt_rows(DenseConfig(encoder=one))) for one in (APART, EVERYTHING)
    )
    shapes = apart if apart.has(_TABLE) else overlapping
    tables = {"table_size": _table_size(shapes)} if shapes is apart else {}
    encoder = pyramid_config(shapes, heads=_heads(source), **tables)
    size = source.image_size or FRAME
    if source.naming.part:
        config = DenseConfig(image_size=size, encoder=encoder, head=FpnConfig(), dtype="float32")
        return reading(PVT, source, config, *frame_note(source))
    config = DenseConfig(
        image_size=size,
        classes=shapes.of("head/classify/kernel", axes=4)[0],
        encoder=encoder,
        head=FpnConfig(
            pyramid_width=shapes.of("head/pyramid/lateral/0/kernel", axes=4)[0],
            width=shapes.of("head/levels/0/steps/0/conv/kernel", axes=4)[0],
        ),
        dtype="float32",
    )
    return reading(PVT, source, config, *frame_note(source))


def _table_size(shapes: Shapes) -> tuple[int, int]:
    """Return the (height, width) in pixels of the photos that tables of positions are for: squares, as published."""
    rows = shapes.of(_TABLE, axes=3)[1]
    side = round(rows**0.5)
    if side**2 != rows:
        raise UserError(f"{shapes.key(_TABLE)} has positions of {rows} tokens, which are no square")
    return 4 * side, 4 * side


def _heads(source: Source) -> tuple[int, ...] | None:
    """Return the attention heads that a config.json beside the arrays names."""
    config, expected = source.config_json, _MODEL_TYPES.get(source.naming.name)
    if config is None or expected is None:
        return None
    name = f"{source.name}/config.json"
    if config.get("model_type") != expected:
        raise UserError(f"{name} is of a model of type {config.get('model_type')!r:.40}, expected {expected!r}")
    heads = config.get("num_attention_heads", [1, 2, 5, 8])
    if not isinstance(heads, list) or len(heads) != 4 or not all(type(one) is int and one > 0 for one in heads):
        raise UserError(f"{name}: num_attention_heads is {heads!r:.40}, expected four numbers")
    return tuple(heads)


def _holds(config: DenseConfig) -> bool:
    return isinstance(config.encoder, PyramidConfig) and isinstance(config.head, FpnConfig)


def _beyond(config: DenseConfig, naming: Naming) -> str:
    encoder = config.encoder
    assert isinstance(encoder, PyramidConfig)
    if naming.name == HUB_ENCODER and encoder.overlapping:
        return "has overlapping patches"
    if naming.name == HUB_V2_ENCODER and not encoder.overlapping:
        return "has patches that do not overlap"
    return beyond_pixels(config, naming)


def size_name(config: DenseConfig) -> str:
    """Return `v2 B2`, or what a model's encoder measures."""
    assert isinstance(config.encoder, PyramidConfig)
    return f"{pyramid_name(config.encoder, PUBLISHED)} with Semantic FPN"


def _is_pvt(arrays: Mapping[str, np.ndarray]) -> bool:
    """Return whether it is PVT's: a whole model's keys are those of no other, an encoder alone may be SegFormer's."""
    is_whole = any(key.startswith("decode_head.") for key in arrays)
    return is_whole or "pos_embed1" in arrays or first_ratio(arrays) != 4


WHOLE = Naming(
    name=AUTHORS,
    title="PVT's authors and mmsegmentation",
    signs=(_ENCODER[0], "head/pyramid/lateral/0/kernel", "head/classify/kernel"),
    unused_patterns=(*fpn.UNUSED, "backbone.cls_token", "backbone.norm.*", "backbone.head.*"),
)
ENCODER = Naming(
    name=AUTHORS_ENCODER,
    title="the classifiers of PVT's authors",
    signs=_ENCODER,
    part="the backbone",
    unused_patterns=("cls_token", "norm.*", "head.*", COUNTERS),
)
HUB = Naming(
    name=HUB_ENCODER,
    title="transformers' PvtModel",
    signs=_ENCODER,
    part="the backbone",
    unused_patterns=("encoder.patch_embeddings.*.cls_token", "encoder.layer_norm.*"),
)
HUB_V2 = Naming(name=HUB_V2_ENCODER, title="transformers' PvtV2Model", signs=_ENCODER, part="the backbone")

PVT = Family(
    name="PVT",
    config=DenseConfig,
    namings=(WHOLE, ENCODER, HUB, HUB_V2),
    rows=pvt_rows,
    stacks=lambda config: pyramid.pyramid_slots(config.encoder),
    read=_read,
    size=size_name,
    sample=DenseConfig.pvt_v2_b0_fpn(),
    holds=_holds,
    beyond=_beyond,
    is_this=_is_pvt,
)
