"""DPT's weights: which PyTorch key is which of our paths, the authors' and transformers'."""

from collections.abc import Mapping

from samjax.core.errors import UserError
from samjax.interop.axes import CONVOLUTION, LINEAR, POINTWISE, TRANSPOSED
from samjax.interop.mapping import Row, Slot, plain_slots
from samjax.interop.tables.conv_norm_rows import COUNTERS, batch_norm_rows, conv_norm_rows, layer_rows
from samjax.interop.tables.resnet_rows import resnet_rows
from samjax.interop.tables.vit_rows import Dialect, vit_rows
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.dpt import DptDepthConfig, DptSegmentationConfig
from samjax.models.heads.dpt_fusion import STRIDES
from samjax.models.vit.dpt_vit import DptVitConfig

AUTHORS, HUB = "dpt", "dpt-transformers"
"""Names of the layouts: that of the authors' files, and transformers'."""

UNUSED: Mapping[str, tuple[str, ...]] = {
    AUTHORS: (
        "pretrained.model.norm.*",
        "pretrained.model.head.*",
        "scratch.refinenet4.resConfUnit1.*",
        "auxlayer.*",
        COUNTERS,
    ),
    HUB: (
        "dpt.layernorm.*",
        "dpt.pooler.*",
        "neck.fusion_stage.layers.0.residual_layer1.*",
        "auxiliary_head.*",
        COUNTERS,
    ),
}
"""Patterns of keys that files have and models do not use: the ViT's last norm and its classifier, which follow the last
tap; a unit of the deepest fusion, where there is no map to add; auxiliary classes, where the head has none."""

Names = Mapping[str, str]
"""What keys begin with, by the name of each layout that is wanted."""

_DIALECTS = {AUTHORS: Dialect.TIMM, HUB: Dialect.TRANSFORMERS}
_VIT = {AUTHORS: "pretrained.model.", HUB: "dpt."}
_RESNET = {AUTHORS: "pretrained.model.patch_embed.backbone.", HUB: "dpt.embeddings.backbone.bit."}
_READOUT = {
    AUTHORS: "pretrained.act_postprocess{number}.0.project.0",
    HUB: "neck.reassemble_stage.readout_projects.{map}.0",
}
_PROJECT = {AUTHORS: "pretrained.act_postprocess{number}.3", HUB: "neck.reassemble_stage.layers.{map}.projection"}
_RESIZE = {AUTHORS: "pretrained.act_postprocess{number}.4", HUB: "neck.reassemble_stage.layers.{map}.resize"}
_NARROW = {AUTHORS: "scratch.layer{number}_rn", HUB: "neck.convs.{map}"}
_OUT = {AUTHORS: "scratch.refinenet{number}.out_conv", HUB: "neck.fusion_stage.layers.{from_last}.projection"}
_UNIT_CONV = {
    AUTHORS: "scratch.refinenet{number}.resConfUnit{unit}.conv{conv}",
    HUB: "neck.fusion_stage.layers.{from_last}.residual_layer{unit}.convolution{conv}",
}
_UNIT_NORM = {
    AUTHORS: "scratch.refinenet{number}.resConfUnit{unit}.bn{conv}",
    HUB: "neck.fusion_stage.layers.{from_last}.residual_layer{unit}.batch_norm{conv}",
}
_MAIN = {AUTHORS: "scratch.output_conv.", HUB: "head.head."}
_AUXILIARY = {AUTHORS: "auxlayer.", HUB: "auxiliary_head.head."}


def dpt_slots(config: DenseConfig) -> dict[str, list[Slot]]:
    """Return the layers of every stack, by the stack's placeholder."""
    return {"block": plain_slots(_encoder(config).depth)}


def dpt_rows(config: DenseConfig, *, prefixes: Names) -> tuple[Row, ...]:
    """Return the rows of a whole model, whose paths begin with `encoder` and `head`.

    Args:
      config: which arrays there are depends on it.
      prefixes: what all keys begin with, by the name of each layout that is wanted; an empty string in published files.

    Raises:
      UserError: it is no DPT.
    """
    encoder, head = _encoder(config), config.head
    if not isinstance(head, DptDepthConfig | DptSegmentationConfig):
        raise UserError(f"model.head is {type(head).__name__}; DPT has DptDepthConfig or DptSegmentationConfig")
    rows = [*_encoder_rows(encoder, prefixes), *_fusion(head, encoder.strides, prefixes)]
    main = _begin(_MAIN, prefixes)
    if isinstance(head, DptSegmentationConfig):
        rows += _classifier("head/main", main)
        rows += _classifier("head/auxiliary", _begin(_AUXILIARY, prefixes)) if head.auxiliary else []
        return tuple(rows)
    for name, kind, key in (("conv1", CONVOLUTION, "0"), ("conv2", CONVOLUTION, "2"), ("out", POINTWISE, "4")):
        rows += layer_rows(f"head/{name}", key, kind, main)
    return tuple(rows)


def _encoder(config: DenseConfig) -> DptVitConfig:
    if not isinstance(config.encoder, DptVitConfig):
        raise UserError(f"model.encoder is {type(config.encoder).__name__}; DPT has DptVitConfig")
    return config.encoder


def _encoder_rows(encoder: DptVitConfig, prefixes: Names) -> list[Row]:
    def begin(places: Names) -> dict[str, tuple[Dialect, str]]:
        return {layout: (_DIALECTS[layout], start) for layout, start in _begin(places, prefixes).items()}

    projection = None if encoder.resnet is None else "embeddings.projection"
    rows, first = vit_rows("encoder/vit/", begin(_VIT), projection=projection), 0
    if encoder.resnet is not None:
        rows += resnet_rows(encoder.resnet, "encoder/resnet/", begin(_RESNET))
        first = len(encoder.resnet.depths) - 1
    for tap in range(len(encoder.taps)):
        rows += layer_rows(f"encoder/readouts/{tap}", "", LINEAR, _of_map(_READOUT, first + tap, prefixes))
    return rows


def _fusion(head: DptDepthConfig | DptSegmentationConfig, strides: tuple[int, ...], prefixes: Names) -> list[Row]:
    rows, start = [], "head/fusion"
    for level, (stride, target, channels) in enumerate(zip(strides, STRIDES, head.map_widths, strict=True)):
        if channels:
            names = _of_map(_PROJECT, level, prefixes)
            rows += layer_rows(f"{start}/reassemble/{level}/project", "", POINTWISE, names)
            if stride != target:
                kind, names = TRANSPOSED if stride > target else CONVOLUTION, _of_map(_RESIZE, level, prefixes)
                rows += layer_rows(f"{start}/reassemble/{level}/resize", "", kind, names)
        names = _of_map(_NARROW, level, prefixes)
        rows += layer_rows(f"{start}/narrow/{level}", "", CONVOLUTION, names, bias=False)
        rows += layer_rows(f"{start}/blocks/{level}/out", "", POINTWISE, _of_map(_OUT, level, prefixes))
        for unit in (2,) if target == STRIDES[-1] else (1, 2):
            path = f"{start}/blocks/{level}/unit{unit}"
            for conv in (1, 2):
                names = _of_map(_UNIT_CONV, level, prefixes, unit=unit, conv=conv)
                rows += layer_rows(f"{path}/conv{conv}", "", CONVOLUTION, names, bias=not head.batch_norm)
                names = _of_map(_UNIT_NORM, level, prefixes, unit=unit, conv=conv)
                rows += batch_norm_rows(f"{path}/norm{conv}", "", names) if head.batch_norm else []
    return rows


def _classifier(path: str, names: Names) -> list[Row]:
    return [
        *conv_norm_rows(f"{path}/conv", ("0", "1"), names, kernel=3),
        *layer_rows(f"{path}/classify", "4", POINTWISE, names),
    ]


def _begin(places: Names, prefixes: Names) -> dict[str, str]:
    return {layout: prefix + places[layout] for layout, prefix in prefixes.items()}


def _of_map(places: Names, level: int, prefixes: Names, **numbers: int) -> dict[str, str]:
    """Return where each layout has what belongs to a map, the finest being 0."""
    numbers |= {"map": level, "number": level + 1, "from_last": len(STRIDES) - 1 - level}
    return {layout: start.format(**numbers) for layout, start in _begin(places, prefixes).items()}
