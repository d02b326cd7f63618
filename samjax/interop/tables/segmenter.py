"""Segmenter: the authors' files, whose state dict is under `model`."""

from collections.abc import Mapping

import numpy as np

from samjax.interop.array_shapes import Shapes
from samjax.interop.family import Family, Reading, Source
from samjax.interop.mapping import Naming
from samjax.interop.tables.dense_reading import beyond_pixels, reading, used_part
from samjax.interop.tables.segmenter_rows import AUTHORS, UNUSED, segmenter_rows, segmenter_slots
from samjax.interop.tables.vit_geometry import PUBLISHED, frame, mlp_ratio, vit_sizes
from samjax.models.dense_prediction.dense_model import DenseConfig
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
    used = used_part(source)
    is_linear = "decoder.head.weight" in used.arrays
    shapes = Shapes(used.arrays, used.naming, _rows(_LINEAR if is_linear else _MASK))
    sizes, distilled = vit_sizes(shapes), shapes.has("encoder/distillation_token")
    encoder = TappedVitConfig(**sizes, distillation_token=distilled, map_norms=True, epsilon=_EPSILON)
    if is_linear:
        head, classes = LinearConfig(), shapes.of("head/classify/kernel", axes=2)[0]
    else:
        head = MaskTransformerConfig(
            depth=shapes.count("head/groups/full/norm1/scale"),
            mlp_ratio=mlp_ratio(shapes, "head/groups/full/mlp/up/kernel"),
        )
        classes = shapes.of("head/class_tokens", axes=3)[1]
    statistics = PixelStatistics.IMAGENET if distilled else PixelStatistics.HALF
    config = DenseConfig(
        image_size=frame(
            shapes, patch=encoder.patch, tokens=1 + encoder.distillation_token, image_size=source.image_size
        ),
        classes=classes,
        pixel_statistics=statistics,
        encoder=encoder,
        head=head,
        dtype="float32",
    )
    whose = "ImageNet's mean and deviation, as DeiT's" if distilled else "mean and deviation 0.5, as ViT's"
    return reading(SEGMENTER, source, config, f"no array says how photos are normalised: with {whose} are")


def _beyond(config: DenseConfig, naming: Naming) -> str:
    encoder, head = config.encoder, config.head
    assert isinstance(encoder, TappedVitConfig)
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
    return any(key in arrays for key in ("decoder.head.weight", "decoder.cls_emb"))


def _rows(config: DenseConfig):
    return segmenter_rows(config, prefixes={AUTHORS: ""})


SEGMENTER_AUTHORS = Naming(
    name=AUTHORS,
    title="Segmenter's authors",
    signs=("encoder/position", "encoder/groups/full/mlp/up/kernel", "encoder/norms/0/scale"),
    unused_patterns=UNUSED[AUTHORS],
)

SEGMENTER = Family(
    name="Segmenter",
    config=DenseConfig,
    namings=(SEGMENTER_AUTHORS,),
    rows=_rows,
    stacks=segmenter_slots,
    read=_read,
    size=size_name,
    sample=_MASK,
    holds=_holds,
    beyond=_beyond,
    is_this=_is_segmenter,
)
