"""Segment Anything's weights: which PyTorch key is which of our paths. One table, read both ways."""

import dataclasses
import enum
from dataclasses import dataclass

from samjax.interop.layout import (
    CONVOLUTION,
    FROM_HEADS,
    INTO_HEADS,
    INTO_HEADS_BIAS,
    LINEAR,
    MATRIX,
    POINTWISE,
    POSITION,
    QKV,
    QKV_BIAS,
    ROW,
    TRANSPOSED,
    VECTOR,
    Layout,
)
from samjax.models.sam.config import SamConfig


class Naming(enum.Enum):
    """Whose keys a PyTorch state dict has: a column of the table."""

    TRANSFORMERS = "transformers"
    """Hugging Face's `SamModel`."""
    SEGMENT_ANYTHING = "segment-anything"
    """The release's."""
    VIT = "vit"
    """A plain ViT of timm, MAE or ViTDet: the image encoder without its neck, and nothing else."""


@dataclass(frozen=True)
class Row:
    """One array, or one of each layer of a stack: `{block}`, `{layer}`, `{token}` and `{label}` name the stacks.

    `aliases` are further keys of the very same array in `transformers`. Another naming is another column.
    """

    transformers: str
    segment_anything: str
    path: str
    layout: Layout
    vit: str | None = None
    aliases: tuple[str, ...] = ()

    def keys(self, naming: Naming) -> tuple[str, ...]:
        """Return the array's keys in a naming, none where it has no such array."""
        if naming is Naming.TRANSFORMERS:
            return self.transformers, *self.aliases
        key = self.segment_anything if naming is Naming.SEGMENT_ANYTHING else self.vit
        return () if key is None else (key,)


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A layer's place: its number in PyTorch, its folder in our path, its index in our stacked array."""

    number: int
    folder: str = ""
    index: tuple[int, ...] = ()


def slots(config: SamConfig) -> dict[str, list[Slot]]:
    """Return the layers of every stack, by the stack's placeholder."""
    every = config.image_encoder.global_every

    def block(number: int) -> Slot:
        group, position = divmod(number, every)
        if position == every - 1:
            return Slot(number=number, folder="full", index=(group,))
        return Slot(number=number, folder="windowed", index=(group, position))

    def plain(depth: int) -> list[Slot]:
        return [Slot(number=number, index=(number,)) for number in range(depth)]

    return {
        "block": [block(number) for number in range(config.image_encoder.depth)],
        "layer": plain(config.mask_decoder.depth),
        "token": plain(4),
        "label": plain(4),
    }


def _layer(transformers: str, segment_anything: str, path: str, kernel: Layout, bias: Layout = VECTOR) -> list[Row]:
    return [
        Row(f"{transformers}.weight", f"{segment_anything}.weight", f"{path}/kernel", kernel),
        Row(f"{transformers}.bias", f"{segment_anything}.bias", f"{path}/bias", bias),
    ]


def _norm(transformers: str, segment_anything: str, path: str) -> list[Row]:
    return [
        Row(f"{transformers}.weight", f"{segment_anything}.weight", f"{path}/scale", VECTOR),
        Row(f"{transformers}.bias", f"{segment_anything}.bias", f"{path}/bias", VECTOR),
    ]


def _attention(torch: str, path: str) -> list[Row]:
    """A decoder attention's four projections, called the same in both."""
    return [
        *_layer(f"{torch}.q_proj", f"{torch}.q_proj", f"{path}/query", INTO_HEADS, INTO_HEADS_BIAS),
        *_layer(f"{torch}.k_proj", f"{torch}.k_proj", f"{path}/key", INTO_HEADS, INTO_HEADS_BIAS),
        *_layer(f"{torch}.v_proj", f"{torch}.v_proj", f"{path}/value", INTO_HEADS, INTO_HEADS_BIAS),
        *_layer(f"{torch}.out_proj", f"{torch}.out_proj", f"{path}/out", FROM_HEADS),
    ]


def _head(torch: str, path: str) -> list[Row]:
    """A decoder's three-layer perceptron."""
    return [
        *_layer(f"{torch}.proj_in", f"{torch}.layers.0", f"{path}/layer1", LINEAR),
        *_layer(f"{torch}.layers.0", f"{torch}.layers.1", f"{path}/layer2", LINEAR),
        *_layer(f"{torch}.proj_out", f"{torch}.layers.2", f"{path}/layer3", LINEAR),
    ]


def _under(transformers: str, segment_anything: str, path: str, rows: list[Row]) -> list[Row]:
    """Return the rows of a part of the model, by the part's name in each column."""
    return [
        dataclasses.replace(
            row,
            transformers=f"{transformers}.{row.transformers}",
            segment_anything=f"{segment_anything}.{row.segment_anything}",
            path=f"{path}/{row.path}",
        )
        for row in rows
    ]


def _as_in_vit(rows: list[Row]) -> list[Row]:
    """Add the column of a plain ViT: the release's names, but for the perceptron's two layers."""

    def key(released: str) -> str:
        return released.removeprefix("image_encoder.").replace(".mlp.lin", ".mlp.fc")

    return [dataclasses.replace(row, vit=key(row.segment_anything)) for row in rows]


_IMAGE_ENCODER = _as_in_vit(
    [
        *_layer(
            "vision_encoder.patch_embed.projection",
            "image_encoder.patch_embed.proj",
            "image_encoder/patch_embed",
            CONVOLUTION,
        ),
        Row("vision_encoder.pos_embed", "image_encoder.pos_embed", "image_encoder/position", POSITION),
        *_under(
            "vision_encoder.layers.{block}",
            "image_encoder.blocks.{block}",
            "image_encoder/groups/{block}",
            [
                *_norm("layer_norm1", "norm1", "norm1"),
                *_layer("attn.qkv", "attn.qkv", "attention/qkv", QKV, QKV_BIAS),
                *_layer("attn.proj", "attn.proj", "attention/out", FROM_HEADS),
                Row("attn.rel_pos_h", "attn.rel_pos_h", "attention/row_positions", MATRIX),
                Row("attn.rel_pos_w", "attn.rel_pos_w", "attention/column_positions", MATRIX),
                *_norm("layer_norm2", "norm2", "norm2"),
                *_layer("mlp.lin1", "mlp.lin1", "mlp/up", LINEAR),
                *_layer("mlp.lin2", "mlp.lin2", "mlp/down", LINEAR),
            ],
        ),
    ]
)

_NECK = _under(
    "vision_encoder.neck",
    "image_encoder.neck",
    "image_encoder/neck",
    [
        Row("conv1.weight", "0.weight", "conv1/kernel", POINTWISE),
        *_norm("layer_norm1", "1", "norm1"),
        Row("conv2.weight", "2.weight", "conv2/kernel", CONVOLUTION),
        *_norm("layer_norm2", "3", "norm2"),
    ],
)

_PROMPT_ENCODER = [
    Row(
        "shared_image_embedding.positional_embedding",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        "prompt_encoder/position/gaussian",
        MATRIX,
        aliases=("prompt_encoder.shared_embedding.positional_embedding",),
    ),
    *_under(
        "prompt_encoder",
        "prompt_encoder",
        "prompt_encoder",
        [
            Row("point_embed.{label}.weight", "point_embeddings.{label}.weight", "points", ROW),
            Row("not_a_point_embed.weight", "not_a_point_embed.weight", "not_a_point", ROW),
            Row("no_mask_embed.weight", "no_mask_embed.weight", "no_mask", ROW),
            *_layer("mask_embed.conv1", "mask_downscaling.0", "mask_downscaler/conv1", CONVOLUTION),
            *_norm("mask_embed.layer_norm1", "mask_downscaling.1", "mask_downscaler/norm1"),
            *_layer("mask_embed.conv2", "mask_downscaling.3", "mask_downscaler/conv2", CONVOLUTION),
            *_norm("mask_embed.layer_norm2", "mask_downscaling.4", "mask_downscaler/norm2"),
            *_layer("mask_embed.conv3", "mask_downscaling.6", "mask_downscaler/conv3", POINTWISE),
        ],
    ),
]

_MASK_DECODER = _under(
    "mask_decoder",
    "mask_decoder",
    "mask_decoder",
    [
        Row("iou_token.weight", "iou_token.weight", "iou_token", MATRIX),
        Row("mask_tokens.weight", "mask_tokens.weight", "mask_tokens", MATRIX),
        *_under(
            "transformer.layers.{layer}",
            "transformer.layers.{layer}",
            "transformer/layers",
            [
                *_attention("self_attn", "self_attention"),
                *_norm("layer_norm1", "norm1", "norm1"),
                *_attention("cross_attn_token_to_image", "token_to_image"),
                *_norm("layer_norm2", "norm2", "norm2"),
                *_layer("mlp.lin1", "mlp.lin1", "mlp/up", LINEAR),
                *_layer("mlp.lin2", "mlp.lin2", "mlp/down", LINEAR),
                *_norm("layer_norm3", "norm3", "norm3"),
                *_attention("cross_attn_image_to_token", "image_to_token"),
                *_norm("layer_norm4", "norm4", "norm4"),
            ],
        ),
        *_attention("transformer.final_attn_token_to_image", "transformer/final"),
        *_norm("transformer.layer_norm_final_attn", "transformer.norm_final_attn", "transformer/norm"),
        *_layer("upscale_conv1", "output_upscaling.0", "upscaler/conv1", TRANSPOSED),
        *_norm("upscale_layer_norm", "output_upscaling.1", "upscaler/norm"),
        *_layer("upscale_conv2", "output_upscaling.3", "upscaler/conv2", TRANSPOSED),
        *_head("output_hypernetworks_mlps.{token}", "hypernetworks"),
        *_head("iou_prediction_head", "iou_head"),
    ],
)

SAM: tuple[Row, ...] = (*_IMAGE_ENCODER, *_NECK, *_PROMPT_ENCODER, *_MASK_DECODER)
