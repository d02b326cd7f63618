"""DPT: the authors' files and transformers' folders, for inverse depth and for segmentation."""

import re
from collections.abc import Mapping
from typing import Any

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.interop.family import Family, Reading, Source
from samjax.interop.mapping import Naming, Row
from samjax.interop.tables.dense_reading import beyond_pixels, class_names, frame_note, reading, used_part
from samjax.interop.tables.dpt_config_json import check_against, config_fields, groups_of
from samjax.interop.tables.dpt_rows import AUTHORS, HUB, UNUSED, dpt_rows, dpt_slots
from samjax.interop.tables.vit_geometry import HEADS, PUBLISHED, heads_of, mlp_ratio
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.dpt import DptDepthConfig, DptSegmentationConfig
from samjax.models.resnet import ResNetConfig
from samjax.models.vit.dpt_vit import DptVitConfig
from samjax.nn.pixels import PixelStatistics

_SIGNS = ("encoder/vit/position", "head/fusion/narrow/3/kernel")
_PREFIXES = {AUTHORS: "", HUB: ""}
_PLAIN, _HYBRID = DenseConfig.dpt_large_segmentation(), DenseConfig.dpt_hybrid_segmentation()
_PLAIN_DEPTH, _HYBRID_DEPTH = DenseConfig.dpt_large_depth(), DenseConfig.dpt_hybrid_depth()
"""Configs whose tables have the arrays of each kind."""
_STRIDE = 16
"""Of a hybrid's last map."""
_STAGES = 3
"""Of a hybrid's ResNet in transformers."""
_HIDDEN = 32
"""Channels before the last layer for depth there."""
HUB_EPSILON = 1e-12
"""transformers' default; the authors' is 1e-6."""


def taps(depth: int, *, is_hybrid: bool) -> tuple[int, ...]:
    """Return the blocks whose maps are fused: the last of each quarter, of a hybrid's the last two of these.

    Raises:
      UserError: there are no quarters.
    """
    if depth % 4:
        raise UserError(f"the encoder has {depth} blocks, expected a multiple of 4: DPT takes a map after each quarter")
    quarters = tuple(depth // 4 * number - 1 for number in (1, 2, 3, 4))
    return quarters[2:] if is_hybrid else quarters


def _read(source: Source) -> Reading:
    used = used_part(source)
    is_hybrid = Shapes(used.arrays, used.naming, _rows(_HYBRID)).has("encoder/resnet/stem/conv/kernel")
    segmentation = Shapes(used.arrays, used.naming, _rows(_HYBRID if is_hybrid else _PLAIN))
    is_depth = not segmentation.has("head/main/conv/norm/scale")  # other layers have the same keys
    shapes = segmentation
    if is_depth:
        shapes = Shapes(used.arrays, used.naming, _rows(_HYBRID_DEPTH if is_hybrid else _PLAIN_DEPTH))
    fields = config_fields(source)
    encoder = _encoder(shapes, fields, naming=used.naming, is_hybrid=is_hybrid)
    projections = [f"head/fusion/reassemble/{level}/project/kernel" for level in range(4)]
    sizes: Any = {
        "width": shapes.of("head/fusion/narrow/3/kernel", axes=4)[0],
        "map_widths": tuple(shapes.of(path, axes=4)[0] if shapes.has(path) else 0 for path in projections),
        "batch_norm": segmentation.has("head/fusion/blocks/0/unit2/norm1/scale"),
    }
    if is_depth:
        head, classes = DptDepthConfig(**sizes, hidden=shapes.of("head/conv2/kernel", axes=4)[0]), 1
    else:
        if fields is not None:
            sizes["dropout"] = fields["semantic_classifier_dropout"]
        head = DptSegmentationConfig(**sizes, auxiliary=shapes.has("head/auxiliary/classify/kernel"))
        classes = shapes.of("head/main/classify/kernel", axes=4)[0]
    frame = (_PLAIN_DEPTH if is_depth else _PLAIN).image_size
    name = f"{source.name}/config.json"
    config = DenseConfig(
        image_size=source.image_size or frame,
        classes=classes,
        class_names=() if fields is None or is_depth else class_names(fields, classes, name=name),
        pixel_statistics=PixelStatistics.HALF,
        encoder=encoder,
        head=head,
        dtype="float32",
    )
    if fields is not None:
        check_against(fields, config, name=name)
    return reading(DPT, source, config, *frame_note(source, frame))


def _encoder(shapes: Shapes, fields: Mapping[str, Any] | None, *, naming: Naming, is_hybrid: bool) -> DptVitConfig:
    width, _, kernel, _ = shapes.of("encoder/vit/patch_embed/kernel", axes=4)
    patch = _STRIDE if is_hybrid else kernel
    rows = shapes.of("encoder/vit/position", axes=3)[1] - 1
    side = round(max(rows, 0) ** 0.5)
    if side < 1 or side**2 != rows:
        raise UserError(f"{shapes.key('encoder/vit/position')} has positions of {rows} patches, which are no square")
    depth, known = shapes.count("encoder/vit/groups/full/norm1/scale"), fields or {}
    if "backbone_out_indices" in known:
        blocks = tuple(known["backbone_out_indices"][-2 if is_hybrid else 0 :])
    else:
        blocks = taps(depth, is_hybrid=is_hybrid)
    epsilon = 1e-6 if naming.name == AUTHORS else known.get("layer_norm_eps", HUB_EPSILON)
    return DptVitConfig(
        patch=patch,
        width=width,
        depth=depth,
        heads=known.get("num_attention_heads") or heads_of(width, HEADS, "the encoder"),
        mlp_ratio=mlp_ratio(shapes, "encoder/vit/groups/full/mlp/up/kernel"),
        taps=blocks,
        resnet=_resnet(shapes, groups_of(fields)) if is_hybrid else None,
        table_size=(side * patch, side * patch),
        epsilon=epsilon,
    )


def _resnet(shapes: Shapes, groups: int) -> ResNetConfig:
    """Return the network of a hybrid, whose norms' groups no array says."""
    ends = [f"encoder/resnet/stages/{stage}/0/up/conv/kernel" for stage in range(3)]
    depths = []
    for path in ends:
        before, _, after = shapes.key(path).rpartition(".0.")
        pattern = re.compile(rf"{re.escape(before)}\.(\d+)\.{re.escape(after)}")
        depths.append(sum(pattern.fullmatch(key) is not None for key in shapes.arrays))
    return ResNetConfig(
        stem=shapes.of("encoder/resnet/stem/conv/kernel", axes=4)[0],
        widths=tuple(shapes.of(path, axes=4)[0] for path in ends),
        depths=tuple(depths),
        groups=groups,
    )


def _beyond(config: DenseConfig, naming: Naming) -> str:
    encoder = config.encoder
    assert isinstance(encoder, DptVitConfig)
    if naming.name == AUTHORS:
        is_hybrid = encoder.resnet is not None
        try:
            expected = taps(encoder.depth, is_hybrid=is_hybrid)
        except UserError as error:
            return f"is one of which {error}"
        if encoder.taps != expected:
            return f"has model.encoder.taps {encoder.taps}, where theirs has {expected}"
        return beyond_pixels(config, naming)
    return _beyond_hub(config, encoder) or beyond_pixels(config, naming)


def _beyond_hub(config: DenseConfig, encoder: DptVitConfig) -> str:
    head, resnet = config.head, encoder.resnet
    assert isinstance(head, DptDepthConfig | DptSegmentationConfig)
    for name, (height, width) in {"model.image_size": config.image_size, "table_size": encoder.table_size}.items():
        if height != width:
            return f"has {name} {height} x {width}, where that takes squares alone"
    if [bool(width) for width in head.map_widths] != [resnet is None] * 2 + [True] * 2:
        return f"has model.head.map_widths {head.map_widths}, where that projects all maps but those of a ResNet"
    if resnet is not None and len(resnet.depths) != _STAGES:
        return f"has a ResNet of {len(resnet.depths)} stages, where that has {_STAGES}"
    if isinstance(head, DptDepthConfig) and head.hidden != _HIDDEN:
        return f"has model.head.hidden {head.hidden}, where that has {_HIDDEN}"
    return ""


def _holds(config: DenseConfig) -> bool:
    if not isinstance(config.encoder, DptVitConfig):
        return False
    return config.encoder.global_every == 1 and isinstance(config.head, DptDepthConfig | DptSegmentationConfig)


def size_name(config: DenseConfig) -> str:
    """Return `ViT-L for depth`, or what a model's encoder measures."""
    encoder = config.encoder
    assert isinstance(encoder, DptVitConfig)
    task = "depth" if isinstance(config.head, DptDepthConfig) else "segmentation"
    hybrid = "" if encoder.resnet is None else "hybrid, "
    return f"{hybrid}{encoder.name_among(PUBLISHED)} for {task}"


def _rows(config: DenseConfig) -> tuple[Row, ...]:
    return dpt_rows(config, prefixes=_PREFIXES)


def _naming(name: str, title: str) -> Naming:
    """Auxiliary classes are read where they are: the table's patterns are those of a model without."""
    patterns = tuple(one for one in UNUSED[name] if not one.startswith(("auxlayer", "auxiliary_head")))
    return Naming(name=name, title=title, signs=_SIGNS, unused_patterns=patterns)


DPT_AUTHORS = _naming(AUTHORS, "DPT's authors")
DPT_HUB = _naming(HUB, "transformers' DPTForDepthEstimation and DPTForSemanticSegmentation")

DPT = Family(
    name="DPT",
    config=DenseConfig,
    namings=(DPT_HUB, DPT_AUTHORS),
    rows=_rows,
    stacks=dpt_slots,
    read=_read,
    size=size_name,
    sample=_PLAIN,
    holds=_holds,
    beyond=_beyond,
)
