"""DPT: the authors' files and transformers' folders, for inverse depth and for segmentation."""

import re
from collections.abc import Mapping
from typing import Any

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.interop.family import Family, Reading, Source
from samjax.interop.mapping import Naming, Row
from samjax.interop.tables.dense_reading import beyond_pixels, frame_note, reading, used_part
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
    encoder = _encoder(shapes, _described(source), naming=used.naming, is_hybrid=is_hybrid)
    projections = [f"head/fusion/reassemble/{level}/project/kernel" for level in range(4)]
    sizes: Any = {
        "width": shapes.of("head/fusion/narrow/3/kernel", axes=4)[0],
        "map_widths": tuple(shapes.of(path, axes=4)[0] if shapes.has(path) else 0 for path in projections),
        "batch_norm": segmentation.has("head/fusion/blocks/0/unit2/norm1/scale"),
    }
    if is_depth:
        head, classes = DptDepthConfig(**sizes, hidden=shapes.of("head/conv2/kernel", axes=4)[0]), 1
    else:
        head = DptSegmentationConfig(**sizes, auxiliary=shapes.has("head/auxiliary/classify/kernel"))
        classes = shapes.of("head/main/classify/kernel", axes=4)[0]
    frame = (_PLAIN_DEPTH if is_depth else _PLAIN).image_size
    config = DenseConfig(
        image_size=source.image_size or frame,
        classes=classes,
        pixel_statistics=PixelStatistics.HALF,
        encoder=encoder,
        head=head,
        dtype="float32",
    )
    return reading(DPT, source, config, *frame_note(source, frame))


def _encoder(shapes: Shapes, described: Mapping[str, Any] | None, *, naming: Naming, is_hybrid: bool) -> DptVitConfig:
    width, _, kernel, _ = shapes.of("encoder/vit/patch_embed/kernel", axes=4)
    patch = _STRIDE if is_hybrid else kernel
    rows = shapes.of("encoder/vit/position", axes=3)[1] - 1
    side = round(max(rows, 0) ** 0.5)
    if side < 1 or side**2 != rows:
        raise UserError(f"{shapes.key('encoder/vit/position')} has positions of {rows} patches, which are no square")
    depth, known = shapes.count("encoder/vit/groups/full/norm1/scale"), described or {}
    blocks = taps(depth, is_hybrid=is_hybrid)
    if "backbone_out_indices" in known:
        blocks = tuple(known["backbone_out_indices"][-len(blocks) :])
    epsilon = 1e-6 if naming.name == AUTHORS else known.get("layer_norm_eps", HUB_EPSILON)
    return DptVitConfig(
        patch=patch,
        width=width,
        depth=depth,
        heads=known.get("num_attention_heads") or heads_of(width, HEADS, "the encoder"),
        mlp_ratio=mlp_ratio(shapes, "encoder/vit/groups/full/mlp/up/kernel"),
        taps=blocks,
        resnet=_resnet(shapes) if is_hybrid else None,
        table_size=(side * patch, side * patch),
        epsilon=epsilon,
    )


def _resnet(shapes: Shapes) -> ResNetConfig:
    """Return the network of a hybrid, whose norms' groups no array says: the published ones' number is taken."""
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
    )


def _described(source: Source) -> Mapping[str, Any] | None:
    """Return config.json's fields, where there is one, of a model that is computed here."""
    config = source.config_json
    if config is None or source.naming.name == AUTHORS:
        return None
    name = f"{source.name}/config.json"
    if config.get("model_type") != "dpt":
        raise UserError(f"{name} is of a model of type {config.get('model_type')!r:.40}, expected 'dpt'")
    faults = [
        f"{field} is {config[field]!r:.40}, expected {value!r}"
        for field, value in {"hidden_act": "gelu", "readout_type": "project", "num_channels": 3}.items()
        if config.get(field, value) != value
    ]
    blocks, heads = config.get("backbone_out_indices", [2]), config.get("num_attention_heads", 12)
    if not isinstance(blocks, list) or not all(type(block) is int for block in blocks) or type(heads) is not int:
        faults.append("backbone_out_indices or num_attention_heads are no numbers")
    if faults:
        raise UserError(f"samjax does not support the model of {name}: {'; '.join(faults)}")
    return config


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
