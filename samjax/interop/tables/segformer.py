"""SegFormer: the authors' files, transformers' folders, and the encoder alone of either's classifiers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.interop.family import Family, Reading, Source
from samjax.interop.mapping import Naming
from samjax.interop.tables.dense_reading import FRAME, beyond_pixels, class_names, frame_note, reading, used_part
from samjax.interop.tables.pyramid_geometry import EVERYTHING, first_ratio, pyramid_config, pyramid_name
from samjax.interop.tables.pyramid_rows import pyramid_slots
from samjax.interop.tables.segformer_rows import (
    AUTHORS,
    AUTHORS_ENCODER,
    HUB,
    HUB_ENCODER,
    UNUSED,
    segformer_rows,
)
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.all_mlp import AllMlpConfig
from samjax.models.pyramid.pyramid import PyramidConfig
from samjax.nn.reduction_attention import Reduction

PUBLISHED = {f"B{number}": getattr(PyramidConfig, f"mit_b{number}")() for number in range(6)}
HUB_EPSILON = 1e-5
"""transformers' of every norm, whatever its config.json says; the authors' is 1e-6 in blocks."""

_ENCODER = ("encoder/stages/0/patches/project/kernel", "encoder/stages/3/blocks/mlp/depthwise/kernel")
_WHOLE = (*_ENCODER, "head/mix/kernel", "head/classify/kernel")
_FIXED = {
    "hidden_act": "gelu",
    "num_channels": 3,
    "num_encoder_blocks": 4,
    "patch_sizes": [7, 3, 3, 3],
    "strides": [4, 2, 2, 2],
    "reshape_last_stage": True,
}
"""Fields of config.json that every model here has alike, and their defaults there."""
_SHAPES = {
    "hidden_sizes": ([32, 64, 160, 256], "widths"),
    "depths": ([2, 2, 2, 2], "depths"),
    "sr_ratios": ([8, 4, 2, 1], "reductions"),
    "mlp_ratios": ([4, 4, 4, 4], "mlp_ratios"),
}
"""Fields that arrays say too, their defaults there, and ours."""
_HEADS, _DROP_PATH, _DROPOUT = [1, 2, 5, 8], 0.1, 0.1


def is_segformer(arrays: Mapping[str, np.ndarray]) -> bool:
    """Return whether it is SegFormer's: a whole model's keys are no other's, those of an encoder alone PVT v2's too."""
    return any(key.startswith("decode_head.") for key in arrays) or first_ratio(arrays) == 4


def _read(source: Source) -> Reading:
    used = used_part(source)
    shapes = Shapes(used.arrays, used.naming, segformer_rows(DenseConfig(encoder=EVERYTHING)))
    described = _described(source)
    fields = {"epsilon": HUB_EPSILON} if source.naming in (WHOLE_HUB, ENCODER_HUB) else {}
    heads = None if described is None else tuple(described.get("num_attention_heads", _HEADS))
    drop_path = 0.0 if described is None else described.get("drop_path_rate", _DROP_PATH)
    encoder = pyramid_config(shapes, heads=heads, drop_path=drop_path, **fields)
    frame = source.image_size or FRAME
    if source.naming.part:
        config = DenseConfig(image_size=frame, encoder=encoder, dtype="float32")
        return reading(SEGFORMER, source, config, *frame_note(source))
    width, *_ = shapes.of("head/mix/kernel", axes=4)
    classes, *_ = shapes.of("head/classify/kernel", axes=4)
    dropout = _DROPOUT if described is None else described.get("classifier_dropout_prob", _DROPOUT)
    config = DenseConfig(
        image_size=frame,
        classes=classes,
        class_names=() if described is None else class_names(described, classes, name=f"{source.name}/config.json"),
        encoder=encoder,
        head=AllMlpConfig(width=width, dropout=dropout),
        dtype="float32",
    )
    if described is not None:
        _check_against(described, config, name=f"{source.name}/config.json")
    return reading(SEGFORMER, source, config, *frame_note(source))


def _described(source: Source) -> Mapping[str, Any] | None:
    """Return config.json's fields, where there is one, of a model that is computed here."""
    config = source.config_json
    if config is None or source.naming in (WHOLE, ENCODER):
        return None
    name = f"{source.name}/config.json"
    if config.get("model_type") != "segformer":
        raise UserError(f"{name} is of a model of type {config.get('model_type')!r:.40}, expected 'segformer'")
    faults = [
        f"{field} is {config[field]!r:.40}, expected {value!r}"
        for field, value in _FIXED.items()
        if config.get(field, value) != value
    ]
    heads = config.get("num_attention_heads", _HEADS)
    if not isinstance(heads, list) or len(heads) != 4 or not all(type(one) is int and one > 0 for one in heads):
        faults.append(f"num_attention_heads is {heads!r:.40}, expected four numbers")
    for field in ("drop_path_rate", "classifier_dropout_prob"):
        rate = config.get(field, 0.1)
        if type(rate) not in (int, float) or not 0 <= rate < 1:
            faults.append(f"{field} is {rate!r:.40}, expected a rate below 1")
    if faults:
        raise UserError(f"samjax does not support the model of {name}: {'; '.join(faults)}")
    return config


def _check_against(described: Mapping[str, Any], config: DenseConfig, *, name: str) -> None:
    """Raise a `UserError` where config.json and the arrays beside it are at odds."""
    found = {field: list(getattr(config.encoder, ours)) for field, (_, ours) in _SHAPES.items()}
    found |= {"decoder_hidden_size": config.head.width}  # type: ignore[attr-defined]
    defaults = {field: default for field, (default, _) in _SHAPES.items()} | {"decoder_hidden_size": 256}
    for field, shaped in found.items():
        given = described.get(field, defaults[field])
        if given != shaped:
            raise UserError(f"{name}: {field} is {given!r:.60}, but the arrays beside it are of {shaped}")


def _holds(config: DenseConfig) -> bool:
    encoder = config.encoder
    return (
        isinstance(encoder, PyramidConfig)
        and encoder.overlapping
        and encoder.reduction is Reduction.CONVOLUTION
        and isinstance(config.head, AllMlpConfig)
    )


def size_name(config: DenseConfig) -> str:
    """Return `B0`, or what a model's encoder measures."""
    assert isinstance(config.encoder, PyramidConfig)
    return pyramid_name(config.encoder, PUBLISHED)


WHOLE_HUB = Naming(
    name=HUB, title="transformers' SegformerForSemanticSegmentation", signs=_WHOLE, unused_patterns=UNUSED[HUB]
)
WHOLE = Naming(name=AUTHORS, title="SegFormer's authors", signs=_WHOLE, unused_patterns=UNUSED[AUTHORS])
ENCODER_HUB = Naming(
    name=HUB_ENCODER,
    title="transformers' SegformerModel",
    signs=_ENCODER,
    part="the backbone",
    unused_patterns=UNUSED[HUB_ENCODER],
)
ENCODER = Naming(
    name=AUTHORS_ENCODER,
    title="the classifiers of SegFormer's authors",
    signs=_ENCODER,
    part="the backbone",
    unused_patterns=UNUSED[AUTHORS_ENCODER],
)

SEGFORMER = Family(
    name="SegFormer",
    config=DenseConfig,
    namings=(WHOLE_HUB, WHOLE, ENCODER_HUB, ENCODER),
    rows=segformer_rows,
    stacks=lambda config: pyramid_slots(config.encoder),
    read=_read,
    size=size_name,
    sample=DenseConfig.segformer_b0(),
    holds=_holds,
    beyond=beyond_pixels,
    is_this=is_segformer,
)
