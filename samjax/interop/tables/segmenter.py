"""Segmenter: the authors' files, whose state dict is under `model`; and plain ViTs of ImageNet, its backbones."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from samjax.core.errors import UserError
from samjax.interop.array_shapes import Shapes
from samjax.interop.family import Family, Reading, Source
from samjax.interop.mapping import Naming, Row
from samjax.interop.tables.dense_reading import beyond_pixels, reading, used_part
from samjax.interop.tables.imagenet_vit import imagenet_vit_config, is_imagenet_vit
from samjax.interop.tables.imagenet_vit_rows import AUGREG, TIMM, imagenet_vit_rows
from samjax.interop.tables.segmenter_rows import AUTHORS, UNUSED, segmenter_rows, segmenter_slots
from samjax.interop.tables.segmenter_variant import FILE, LINEAR, MASK, STATISTICS, check_against, read_variant
from samjax.interop.tables.vit_geometry import PUBLISHED, frame, mlp_ratio, vit_sizes
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.head import HeadConfig
from samjax.models.heads.linear import LinearConfig
from samjax.models.heads.mask_transformer import MaskTransformerConfig
from samjax.models.vit.tapped_vit import TappedVitConfig
from samjax.nn.pixels import PixelStatistics

_EPSILON = 1e-5
"""Of every norm in the authors' code."""
_HEAD_CHANNELS = 64
"""Of the decoder's attention heads there."""
_MASK, _LINEAR = DenseConfig.segmenter_deit_b16(), DenseConfig.segmenter_deit_b16(linear=True)
"""Configs whose tables have the arrays of each kind."""


def _read(source: Source) -> Reading:
    if source.naming.part:
        return reading(SEGMENTER, source, imagenet_vit_config(source))
    return _read_whole(source)


def _read_whole(source: Source) -> Reading:
    used, variant = used_part(source), read_variant(source.folder)
    is_linear = "decoder.head.weight" in used.arrays
    shapes = Shapes(used.arrays, used.naming, _rows(_LINEAR if is_linear else _MASK))
    distilled = shapes.has("encoder/distillation_token")
    encoder = TappedVitConfig(
        **vit_sizes(shapes, heads=variant.get("n_heads")),
        distillation_token=distilled,
        map_norms=True,
        epsilon=_EPSILON,
        drop_path=variant.get("drop_path_rate", 0.0),
    )
    if is_linear:
        head, classes = LinearConfig(), shapes.of("head/classify/kernel", axes=2)[0]
    else:
        defaults = MaskTransformerConfig()
        head = MaskTransformerConfig(
            depth=shapes.count("head/groups/full/norm1/scale"),
            mlp_ratio=mlp_ratio(shapes, "head/groups/full/mlp/up/kernel"),
            drop_path=variant.get("decoder.drop_path_rate", defaults.drop_path),
            dropout=variant.get("decoder.dropout", defaults.dropout),
        )
        classes = shapes.of("head/class_tokens", axes=3)[1]
    check_against(variant, _variant_of(encoder, head, classes), folder=source.folder)
    statistics = PixelStatistics.IMAGENET if distilled else PixelStatistics.HALF
    statistics = STATISTICS.get(variant.get("normalization", ""), statistics)
    config = DenseConfig(
        image_size=_frame(shapes, encoder, source, variant),
        classes=classes,
        pixel_statistics=statistics,
        encoder=encoder,
        head=head,
        dtype="float32",
    )
    return reading(SEGMENTER, source, config, *_notes(variant, distilled=distilled))


def _notes(variant: Mapping[str, Any], *, distilled: bool) -> list[str]:
    notes = []
    if variant:
        notes.append(f"{FILE} beside the file says the frame, heads, rates of dropping, and how photos are normalised")
    if "normalization" not in variant:
        whose = "ImageNet's mean and deviation, as DeiT's" if distilled else "mean and deviation 0.5, as ViT's"
        notes.append(f"no array says how photos are normalised: with {whose} are")
    if variant.get("dropout"):
        notes.append(f"its encoder dropped units in training, at {variant['dropout']:g}: samjax's drops none")
    return notes


def _variant_of(encoder: TappedVitConfig, head: HeadConfig, classes: int) -> dict[str, Any]:
    """Return the fields of a variant.yml that arrays say too."""
    found = {
        "patch_size": encoder.patch,
        "d_model": encoder.width,
        "n_layers": encoder.depth,
        "n_cls": classes,
        "distilled": encoder.distillation_token,
        "decoder.name": LINEAR if isinstance(head, LinearConfig) else MASK,
    }
    return found | ({"decoder.n_layers": head.depth} if isinstance(head, MaskTransformerConfig) else {})


def _frame(shapes: Shapes, encoder: TappedVitConfig, source: Source, variant: Mapping[str, Any]) -> tuple[int, int]:
    """Return the frame that the table of positions is for: the user's, else the variant's, else a square."""
    tokens, said = 1 + encoder.distillation_token, variant.get("image_size")
    image_size = source.image_size or (None if said is None else tuple(said))
    try:
        return frame(shapes, patch=encoder.patch, tokens=tokens, image_size=image_size)
    except UserError as error:
        if source.image_size is not None or said is None:
            raise
        raise UserError(f"{source.folder}/{FILE}: net_kwargs.image_size is {image_size}, but {error}") from None


def _beyond(config: DenseConfig, naming: Naming) -> str:
    encoder, head = config.encoder, config.head
    assert isinstance(encoder, TappedVitConfig)
    if naming.part:
        return "has DeiT's second token" if naming is AUGREG and encoder.distillation_token else ""
    epsilons = {encoder.epsilon, head.epsilon if isinstance(head, MaskTransformerConfig) else _EPSILON}
    if epsilons != {_EPSILON}:
        return f"has norms with an epsilon of {max(epsilons - {_EPSILON}):g}, where theirs have {_EPSILON:g}"
    if isinstance(head, MaskTransformerConfig) and head.head_channels != _HEAD_CHANNELS:
        return f"has model.head.head_channels {head.head_channels}, where theirs has {_HEAD_CHANNELS}"
    if not encoder.patch_bias or not encoder.class_token:
        return "has an encoder without a bias of its patches or without a class token"
    return beyond_pixels(config, naming)


def _holds(config: DenseConfig) -> bool:
    encoder = config.encoder
    if not isinstance(encoder, TappedVitConfig) or not isinstance(config.head, LinearConfig | MaskTransformerConfig):
        return False
    return encoder.map_norms and not encoder.taps and encoder.global_every == 1


def size_name(config: DenseConfig) -> str:
    """Return `ViT-B/16 with the mask transformer`, or what a model's encoder measures."""
    encoder = config.encoder
    assert isinstance(encoder, TappedVitConfig)
    head = "the linear head" if isinstance(config.head, LinearConfig) else "the mask transformer"
    name = encoder.name_among(PUBLISHED)
    return f"{f'{name}/{encoder.patch}' if name in PUBLISHED else name} with {head}"


def _is_segmenter(arrays: Mapping[str, np.ndarray]) -> bool:
    return any(key in arrays for key in ("decoder.head.weight", "decoder.cls_emb")) or is_imagenet_vit(arrays)


def _rows(config: DenseConfig) -> tuple[Row, ...]:
    assert isinstance(config.encoder, TappedVitConfig)
    return (*segmenter_rows(config, prefixes={AUTHORS: ""}), *imagenet_vit_rows(config.encoder))


SEGMENTER_AUTHORS = Naming(
    name=AUTHORS,
    title="Segmenter's authors",
    signs=("encoder/position", "encoder/groups/full/mlp/up/kernel", "encoder/norms/0/scale"),
    unused_patterns=UNUSED[AUTHORS],
)

SEGMENTER = Family(
    name="Segmenter",
    config=DenseConfig,
    namings=(SEGMENTER_AUTHORS, TIMM, AUGREG),
    rows=_rows,
    stacks=segmenter_slots,
    read=_read,
    size=size_name,
    sample=_MASK,
    holds=_holds,
    beyond=_beyond,
    is_this=_is_segmenter,
)
