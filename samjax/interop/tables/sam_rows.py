"""Segment Anything's weights: which PyTorch key is which of our paths. One table, read both ways."""

import dataclasses

from samjax.interop.axes import (
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
from samjax.interop.mapping import Naming, Row, Slot, plain_slots
from samjax.models.sam.from_vit import block_place
from samjax.models.sam.sam import SamConfig

_SIGNS = ("image_encoder/patch_embed/kernel", "image_encoder/position", "image_encoder/groups/{block}/mlp/up/kernel")

TRANSFORMERS = Naming(name="transformers", title="transformers' SamModel", signs=_SIGNS)
RELEASE = Naming(name="segment-anything", title="the release", signs=_SIGNS)
# Beside a plain ViT's keys stand those of a classifier, of MAE's decoder, of timm's own SAM encoder.
VIT = Naming(
    name="vit",
    title="a plain ViT, as timm, MAE and ViTDet name it",
    signs=_SIGNS,
    part="the image encoder",
    unused_patterns=(
        *("cls_token", "dist_token", "mask_token", "reg_token", "decoder_*"),
        *("norm.*", "fc_norm.*", "pre_logits.*", "head.*", "head_dist.*", "neck.*"),
    ),
)


@dataclasses.dataclass(frozen=True)
class _Line:
    """A row by columns. `aliases` are further keys of the very same array in `transformers`."""

    transformers: str
    segment_anything: str
    path: str
    layout: Layout
    vit: str | None = None
    aliases: tuple[str, ...] = ()

    def row(self) -> Row:
        names = {
            TRANSFORMERS.name: (self.transformers, *self.aliases),
            RELEASE.name: (self.segment_anything,),
            **({VIT.name: (self.vit,)} if self.vit else {}),
        }
        return Row(path=self.path, layout=self.layout, names=names)


def slots(config: SamConfig) -> dict[str, list[Slot]]:
    """Return the layers of every stack, by the stack's placeholder."""
    encoder = config.image_encoder

    def block(number: int) -> Slot:
        folder, index = block_place(number, every=encoder.global_every)
        return Slot(number=number, folder=folder, index=index)

    return {
        "block": [block(number) for number in range(encoder.depth)],
        "layer": plain_slots(config.mask_decoder.depth),
        "token": plain_slots(4),
        "label": plain_slots(4),
    }


def _layer(transformers: str, segment_anything: str, path: str, kernel: Layout, bias: Layout = VECTOR) -> list[_Line]:
    return [
        _Line(f"{transformers}.weight", f"{segment_anything}.weight", f"{path}/kernel", kernel),
        _Line(f"{transformers}.bias", f"{segment_anything}.bias", f"{path}/bias", bias),
    ]


def _norm(transformers: str, segment_anything: str, path: str) -> list[_Line]:
    return [
        _Line(f"{transformers}.weight", f"{segment_anything}.weight", f"{path}/scale", VECTOR),
        _Line(f"{transformers}.bias", f"{segment_anything}.bias", f"{path}/bias", VECTOR),
    ]


def _attention(torch: str, path: str) -> list[_Line]:
    """A decoder attention's four projections, called the same in both."""
    return [
        *_layer(f"{torch}.q_proj", f"{torch}.q_proj", f"{path}/query", INTO_HEADS, INTO_HEADS_BIAS),
        *_layer(f"{torch}.k_proj", f"{torch}.k_proj", f"{path}/key", INTO_HEADS, INTO_HEADS_BIAS),
        *_layer(f"{torch}.v_proj", f"{torch}.v_proj", f"{path}/value", INTO_HEADS, INTO_HEADS_BIAS),
        *_layer(f"{torch}.out_proj", f"{torch}.out_proj", f"{path}/out", FROM_HEADS),
    ]


def _head(torch: str, path: str) -> list[_Line]:
    """A decoder's three-layer perceptron."""
    return [
        *_layer(f"{torch}.proj_in", f"{torch}.layers.0", f"{path}/layer1", LINEAR),
        *_layer(f"{torch}.layers.0", f"{torch}.layers.1", f"{path}/layer2", LINEAR),
        *_layer(f"{torch}.proj_out", f"{torch}.layers.2", f"{path}/layer3", LINEAR),
    ]


def _under(transformers: str, segment_anything: str, path: str, rows: list[_Line]) -> list[_Line]:
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


def _as_in_vit(rows: list[_Line]) -> list[_Line]:
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
        _Line("vision_encoder.pos_embed", "image_encoder.pos_embed", "image_encoder/position", POSITION),
        *_under(
            "vision_encoder.layers.{block}",
            "image_encoder.blocks.{block}",
            "image_encoder/groups/{block}",
            [
                *_norm("layer_norm1", "norm1", "norm1"),
                *_layer("attn.qkv", "attn.qkv", "attention/qkv", QKV, QKV_BIAS),
                *_layer("attn.proj", "attn.proj", "attention/out", FROM_HEADS),
                _Line("attn.rel_pos_h", "attn.rel_pos_h", "attention/row_positions", MATRIX),
                _Line("attn.rel_pos_w", "attn.rel_pos_w", "attention/column_positions", MATRIX),
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
        _Line("conv1.weight", "0.weight", "conv1/kernel", POINTWISE),
        *_norm("layer_norm1", "1", "norm1"),
        _Line("conv2.weight", "2.weight", "conv2/kernel", CONVOLUTION),
        *_norm("layer_norm2", "3", "norm2"),
    ],
)

_PROMPT_ENCODER = [
    _Line(
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
            _Line("point_embed.{label}.weight", "point_embeddings.{label}.weight", "points", ROW),
            _Line("not_a_point_embed.weight", "not_a_point_embed.weight", "not_a_point", ROW),
            _Line("no_mask_embed.weight", "no_mask_embed.weight", "no_mask", ROW),
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
        _Line("iou_token.weight", "iou_token.weight", "iou_token", MATRIX),
        _Line("mask_tokens.weight", "mask_tokens.weight", "mask_tokens", MATRIX),
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

SAM_ROWS: tuple[Row, ...] = tuple(line.row() for line in (*_IMAGE_ENCODER, *_NECK, *_PROMPT_ENCODER, *_MASK_DECODER))
