"""Mask2Former's weights as transformers writes them: which key is which of our paths."""

from samjax.interop.axes import (
    CONVOLUTION,
    FROM_HEADS,
    INTO_HEADS,
    INTO_HEADS_BIAS,
    LINEAR,
    MATRIX,
    POINTWISE,
    QKV,
    QKV_BIAS,
)
from samjax.interop.mapping import Naming, Row, Slot, move_rows, plain_slots
from samjax.interop.tables.conv_norm_rows import COUNTERS, layer_rows, norm_rows, row
from samjax.interop.tables.swin_rows import TRANSFORMERS, swin_rows, swin_slots
from samjax.models.query_masks.mask2former import Mask2FormerConfig
from samjax.models.query_masks.mask2former_sizes import LEVELS
from samjax.models.swin.swin import SwinConfig

NAMING = Naming(
    name="mask2former-transformers",
    title="transformers' Mask2Former",
    signs=("pixel_decoder/level", "decoder/position"),
    unused_patterns=("criterion.empty_weight", "model.pixel_level_module.encoder.*layernorm.*", COUNTERS),
)


def mask2former_slots(config: Mask2FormerConfig) -> dict[str, list[Slot]]:
    """Return the layers of every stack, by its placeholder."""
    encoder = config.encoder
    stages = swin_slots(encoder) if isinstance(encoder, SwinConfig) else {}
    return {
        **stages,
        "pixel_layer": plain_slots(config.decoder.pixel_layers),
        "layer": [Slot(number=n, index=(n // LEVELS, n % LEVELS)) for n in range(config.decoder.layers)],
    }


def mask2former_rows(config: Mask2FormerConfig) -> tuple[Row, ...]:
    """Return the rows of a whole model."""
    encoder = config.encoder
    rows: list[Row] = []
    if isinstance(encoder, SwinConfig):
        begun = swin_rows(encoder, prefixes={TRANSFORMERS: "model.pixel_level_module.encoder."})
        rows += move_rows(begun, "encoder/", {NAMING.name: TRANSFORMERS})
    return (*rows, *_pixel_decoder(), *_decoder())


def _prefixed(begin: str) -> dict[str, str]:
    return {NAMING.name: begin}


def _pixel_decoder() -> list[Row]:
    ours, theirs = "pixel_decoder", _prefixed("model.pixel_level_module.decoder.")
    rows = [row(f"{ours}/level", "level_embed", MATRIX, theirs)]
    for level in range(LEVELS):
        key = f"input_projections.{level}"
        rows += layer_rows(f"{ours}/project/{level}/conv", f"{key}.0", CONVOLUTION, theirs)
        rows += norm_rows(f"{ours}/project/{level}/norm", f"{key}.1", theirs)
    parts = {
        "attention/offsets": "self_attn.sampling_offsets",
        "attention/weights": "self_attn.attention_weights",
        "attention/value": "self_attn.value_proj",
        "attention/out": "self_attn.output_proj",
        "mlp/up": "fc1",
        "mlp/down": "fc2",
    }
    for path, key in parts.items():
        rows += layer_rows(f"{ours}/layers/{path}", f"encoder.layers.{{pixel_layer}}.{key}", LINEAR, theirs)
    for path, key in {"norm1": "self_attn_layer_norm", "norm2": "final_layer_norm"}.items():
        rows += norm_rows(f"{ours}/layers/{path}", f"encoder.layers.{{pixel_layer}}.{key}", theirs)
    for path, key in {"lateral": "adapter_1", "smooth": "layer_1"}.items():
        rows += layer_rows(f"{ours}/{path}/conv", f"{key}.0", CONVOLUTION, theirs, bias=False)
        rows += norm_rows(f"{ours}/{path}/norm", f"{key}.1", theirs)
    return [*rows, *layer_rows(f"{ours}/masks", "mask_projection", POINTWISE, theirs)]


def _decoder() -> list[Row]:
    theirs = _prefixed("model.transformer_module.")
    layers, of_layer = "decoder/rounds/layers", _prefixed("model.transformer_module.decoder.layers.{layer}.")
    rows = [
        row("decoder/queries", "queries_features.weight", MATRIX, theirs),
        row("decoder/position", "queries_embedder.weight", MATRIX, theirs),
        row("decoder/level", "level_embed.weight", MATRIX, theirs),
        row(f"{layers}/to_map/qkv/kernel", "cross_attn.in_proj_weight", QKV, of_layer),
        row(f"{layers}/to_map/qkv/bias", "cross_attn.in_proj_bias", QKV_BIAS, of_layer),
        *layer_rows(f"{layers}/to_map/out", "cross_attn.out_proj", FROM_HEADS, of_layer),
        *layer_rows(f"{layers}/to_queries/out", "self_attn.out_proj", FROM_HEADS, of_layer),
        *layer_rows(f"{layers}/mlp/up", "fc1", LINEAR, of_layer),
        *layer_rows(f"{layers}/mlp/down", "fc2", LINEAR, of_layer),
        *norm_rows("decoder/norm", "decoder.layernorm", theirs),
        *layer_rows("decoder/classes", "class_predictor", LINEAR, _prefixed("")),
    ]
    for part, name in enumerate(("q_proj", "k_proj", "v_proj")):
        ours, key = f"{layers}/to_queries/qkv", f"self_attn.{name}"
        rows += [
            row(f"{ours}/kernel", f"{key}.weight", INTO_HEADS, of_layer, within=(None, part)),
            row(f"{ours}/bias", f"{key}.bias", INTO_HEADS_BIAS, of_layer, within=(part,)),
        ]
    norms = {"norm1": "cross_attn_layer_norm", "norm2": "self_attn_layer_norm", "norm3": "final_layer_norm"}
    for path, key in norms.items():
        rows += norm_rows(f"{layers}/{path}", key, of_layer)
    for number in range(3):
        key = f"decoder.mask_predictor.mask_embedder.{number}.0"
        rows += layer_rows(f"decoder/masks/{number}", key, LINEAR, theirs)
    return rows
