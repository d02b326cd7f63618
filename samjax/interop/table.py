"""Segment Anything's weights: which PyTorch key is which of our paths. One table, read both ways."""

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


@dataclass(frozen=True)
class Row:
    """One array, or one of each layer of a stack: `{block}`, `{layer}`, `{token}` and `{label}` name the stacks.

    `transformers` is its key in the state dict of Hugging Face's `SamModel`, `aliases` are further keys there of the
    very same array. Another naming of the same weights is another column.
    """

    transformers: str
    path: str
    layout: Layout
    aliases: tuple[str, ...] = ()


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


def _layer(transformers: str, path: str, kernel: Layout, bias: Layout = VECTOR) -> list[Row]:
    return [Row(f"{transformers}.weight", f"{path}/kernel", kernel), Row(f"{transformers}.bias", f"{path}/bias", bias)]


def _norm(transformers: str, path: str) -> list[Row]:
    return [Row(f"{transformers}.weight", f"{path}/scale", VECTOR), Row(f"{transformers}.bias", f"{path}/bias", VECTOR)]


def _attention(transformers: str, path: str) -> list[Row]:
    """A decoder attention's four projections."""
    return [
        *_layer(f"{transformers}.q_proj", f"{path}/query", INTO_HEADS, INTO_HEADS_BIAS),
        *_layer(f"{transformers}.k_proj", f"{path}/key", INTO_HEADS, INTO_HEADS_BIAS),
        *_layer(f"{transformers}.v_proj", f"{path}/value", INTO_HEADS, INTO_HEADS_BIAS),
        *_layer(f"{transformers}.out_proj", f"{path}/out", FROM_HEADS),
    ]


def _head(transformers: str, path: str) -> list[Row]:
    """A decoder's three-layer perceptron."""
    return [
        *_layer(f"{transformers}.proj_in", f"{path}/layer1", LINEAR),
        *_layer(f"{transformers}.layers.0", f"{path}/layer2", LINEAR),
        *_layer(f"{transformers}.proj_out", f"{path}/layer3", LINEAR),
    ]


_BLOCK, _OUR_BLOCK = "vision_encoder.layers.{block}", "image_encoder/groups/{block}"
_LAYER, _OUR_LAYER = "mask_decoder.transformer.layers.{layer}", "mask_decoder/transformer/layers"
_EMBED, _OUR_EMBED = "prompt_encoder.mask_embed", "prompt_encoder/mask_downscaler"

SAM: tuple[Row, ...] = (
    # Image encoder
    *_layer("vision_encoder.patch_embed.projection", "image_encoder/patch_embed", CONVOLUTION),
    Row("vision_encoder.pos_embed", "image_encoder/position", POSITION),
    *_norm(f"{_BLOCK}.layer_norm1", f"{_OUR_BLOCK}/norm1"),
    *_layer(f"{_BLOCK}.attn.qkv", f"{_OUR_BLOCK}/attention/qkv", QKV, QKV_BIAS),
    *_layer(f"{_BLOCK}.attn.proj", f"{_OUR_BLOCK}/attention/out", FROM_HEADS),
    Row(f"{_BLOCK}.attn.rel_pos_h", f"{_OUR_BLOCK}/attention/row_positions", MATRIX),
    Row(f"{_BLOCK}.attn.rel_pos_w", f"{_OUR_BLOCK}/attention/column_positions", MATRIX),
    *_norm(f"{_BLOCK}.layer_norm2", f"{_OUR_BLOCK}/norm2"),
    *_layer(f"{_BLOCK}.mlp.lin1", f"{_OUR_BLOCK}/mlp/up", LINEAR),
    *_layer(f"{_BLOCK}.mlp.lin2", f"{_OUR_BLOCK}/mlp/down", LINEAR),
    Row("vision_encoder.neck.conv1.weight", "image_encoder/neck/conv1/kernel", POINTWISE),
    *_norm("vision_encoder.neck.layer_norm1", "image_encoder/neck/norm1"),
    Row("vision_encoder.neck.conv2.weight", "image_encoder/neck/conv2/kernel", CONVOLUTION),
    *_norm("vision_encoder.neck.layer_norm2", "image_encoder/neck/norm2"),
    # Prompt encoder
    Row(
        "shared_image_embedding.positional_embedding",
        "prompt_encoder/position/gaussian",
        MATRIX,
        aliases=("prompt_encoder.shared_embedding.positional_embedding",),
    ),
    Row("prompt_encoder.point_embed.{label}.weight", "prompt_encoder/points", ROW),
    Row("prompt_encoder.not_a_point_embed.weight", "prompt_encoder/not_a_point", ROW),
    Row("prompt_encoder.no_mask_embed.weight", "prompt_encoder/no_mask", ROW),
    *_layer(f"{_EMBED}.conv1", f"{_OUR_EMBED}/conv1", CONVOLUTION),
    *_norm(f"{_EMBED}.layer_norm1", f"{_OUR_EMBED}/norm1"),
    *_layer(f"{_EMBED}.conv2", f"{_OUR_EMBED}/conv2", CONVOLUTION),
    *_norm(f"{_EMBED}.layer_norm2", f"{_OUR_EMBED}/norm2"),
    *_layer(f"{_EMBED}.conv3", f"{_OUR_EMBED}/conv3", POINTWISE),
    # Mask decoder
    Row("mask_decoder.iou_token.weight", "mask_decoder/iou_token", MATRIX),
    Row("mask_decoder.mask_tokens.weight", "mask_decoder/mask_tokens", MATRIX),
    *_attention(f"{_LAYER}.self_attn", f"{_OUR_LAYER}/self_attention"),
    *_norm(f"{_LAYER}.layer_norm1", f"{_OUR_LAYER}/norm1"),
    *_attention(f"{_LAYER}.cross_attn_token_to_image", f"{_OUR_LAYER}/token_to_image"),
    *_norm(f"{_LAYER}.layer_norm2", f"{_OUR_LAYER}/norm2"),
    *_layer(f"{_LAYER}.mlp.lin1", f"{_OUR_LAYER}/mlp/up", LINEAR),
    *_layer(f"{_LAYER}.mlp.lin2", f"{_OUR_LAYER}/mlp/down", LINEAR),
    *_norm(f"{_LAYER}.layer_norm3", f"{_OUR_LAYER}/norm3"),
    *_attention(f"{_LAYER}.cross_attn_image_to_token", f"{_OUR_LAYER}/image_to_token"),
    *_norm(f"{_LAYER}.layer_norm4", f"{_OUR_LAYER}/norm4"),
    *_attention("mask_decoder.transformer.final_attn_token_to_image", "mask_decoder/transformer/final"),
    *_norm("mask_decoder.transformer.layer_norm_final_attn", "mask_decoder/transformer/norm"),
    *_layer("mask_decoder.upscale_conv1", "mask_decoder/upscaler/conv1", TRANSPOSED),
    *_norm("mask_decoder.upscale_layer_norm", "mask_decoder/upscaler/norm"),
    *_layer("mask_decoder.upscale_conv2", "mask_decoder/upscaler/conv2", TRANSPOSED),
    *_head("mask_decoder.output_hypernetworks_mlps.{token}", "mask_decoder/hypernetworks"),
    *_head("mask_decoder.iou_prediction_head", "mask_decoder/iou_head"),
)
