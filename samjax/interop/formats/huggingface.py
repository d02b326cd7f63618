"""A folder for Hugging Face's `SamModel.from_pretrained` and `SamProcessor`, written without either."""

from pathlib import Path
from typing import Any

from samjax.core.errors import UserError
from samjax.interop.formats.transformers_folder import write_transformers_folder
from samjax.interop.tables.sam import SAM
from samjax.interop.tables.sam_rows import TRANSFORMERS
from samjax.models.sam.sam import SamConfig

_BILINEAR = 2  # Pillow's number


def write_huggingface(params: Any, buffers: Any, config: SamConfig, folder: Path) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json.

    Raises:
      UserError: the model's frame is not square, or safetensors is not installed.
    """
    check_square(config, "Hugging Face's SamModel")
    aliases = {alias for entry in SAM.entries(config, TRANSFORMERS) for alias in entry.keys[1:]}
    state = SAM.to_torch(params, buffers, config, TRANSFORMERS)
    kept = {key: array for key, array in state.items() if key not in aliases}
    write_transformers_folder(folder, kept, config=model_config(config), processor=processor_config(config))


def model_config(config: SamConfig) -> dict[str, Any]:
    """Return config.json."""
    image_encoder, mask_decoder, side = config.image_encoder, config.mask_decoder, config.image_size[0]
    every, depth = image_encoder.global_every, image_encoder.depth
    return {
        "architectures": ["SamModel"],
        "model_type": "sam",
        "dtype": "float32",
        "vision_config": {
            "model_type": "sam_vision_model",
            "hidden_size": image_encoder.width,
            "num_hidden_layers": depth,
            "num_attention_heads": image_encoder.heads,
            "mlp_ratio": float(image_encoder.mlp_ratio),
            "mlp_dim": image_encoder.mlp_ratio * image_encoder.width,
            "window_size": image_encoder.window,
            "global_attn_indexes": list(range(every - 1, depth, every)),
            "image_size": side,
            "patch_size": image_encoder.patch,
            "output_channels": config.embedding,
            "num_pos_feats": config.embedding // 2,
            "num_channels": 3,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
            "qkv_bias": True,
            "use_abs_pos": True,
            "use_rel_pos": True,
        },
        "prompt_encoder_config": {
            "model_type": "sam_prompt_encoder",
            "hidden_size": config.embedding,
            "image_size": side,
            "image_embedding_size": config.grid[0],
            "patch_size": image_encoder.patch,
            "mask_input_channels": config.mask_prompt_channels,
            "num_point_embeddings": 4,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
        },
        "mask_decoder_config": {
            "model_type": "sam_mask_decoder",
            "hidden_size": config.embedding,
            "num_hidden_layers": mask_decoder.depth,
            "num_attention_heads": mask_decoder.heads,
            "mlp_dim": mask_decoder.hidden,
            "iou_head_depth": 3,
            "iou_head_hidden_dim": config.embedding,
            "num_multimask_outputs": 3,
            "attention_downsample_rate": 2,
            "hidden_act": "relu",
            "layer_norm_eps": 1e-5,  # of the release and here; that class's own default is 1e-6
        },
    }


def processor_config(config: SamConfig) -> dict[str, Any]:
    """Return preprocessor_config.json but for the scaling of pixels."""
    (height, width), (low_height, low_width) = config.image_size, config.logits_size
    return {
        "image_processor_type": "SamImageProcessor",
        "processor_class": "SamProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "do_pad": True,
        "resample": _BILINEAR,
        "size": {"longest_edge": max(height, width)},
        "pad_size": {"height": height, "width": width},
        "mask_size": {"longest_edge": max(low_height, low_width)},
        "mask_pad_size": {"height": low_height, "width": low_width},
    }


def check_square(config: SamConfig, who: str) -> None:
    """Raise a `UserError` unless the model's frame is square, as `who` takes no other."""
    height, width = config.image_size
    if height != width:
        raise UserError(
            f"the model's frame is {height} x {width}, and {who} takes square ones alone: give stablehlo or onnx"
        )
