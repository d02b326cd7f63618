"""A folder for transformers' DPTForDepthEstimation or DPTForSemanticSegmentation, written without transformers."""

from pathlib import Path
from typing import Any

import numpy as np

from samjax.interop.card import Use
from samjax.interop.formats.transformers_folder import label_fields, write_transformers_folder
from samjax.interop.tables.dpt_config_json import neck_sizes, reassemble_factors
from samjax.interop.tables.dpt_family import DPT, DPT_HUB
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.dpt import DptDepthConfig, DptSegmentationConfig
from samjax.models.resnet import ResNetConfig
from samjax.models.vit.dpt_vit import DptVitConfig

_BICUBIC = 3  # Pillow's number
_DEPTH = "depth = processor.post_process_depth_estimation(outputs, {target})[0]['predicted_depth']".replace("'", '"')
_CLASSES = "(classes,) = processor.post_process_semantic_segmentation(outputs, {target})"


def write_dpt_folder(params: Any, buffers: Any, config: DenseConfig, folder: Path, _: None) -> Use:
    """Write config.json, model.safetensors and preprocessor_config.json.

    Arrays on which no output depends are zero, and 1 where they scale: transformers' last norm, a unit of its deepest
    fusion, the counters of batch norms.

    Raises:
      UserError: transformers computes no such model, or safetensors is not installed.
    """
    state = DPT.to_torch(params, buffers, config, DPT_HUB)
    side = _photo_side(config)
    processor = {
        "image_processor_type": "DPTImageProcessor",
        "do_resize": True,
        "resample": _BICUBIC,
        "size": {"height": side, "width": side},
        "keep_aspect_ratio": False,  # transformers computes squares alone
        "ensure_multiple_of": 1,
    }
    write_transformers_folder(
        folder,
        state | _unused_arrays(config),
        config=model_config(config),
        processor=processor,
        statistics=config.pixel_statistics,
    )
    is_depth = isinstance(config.head, DptDepthConfig)
    loader = _loader(config)
    result = (_DEPTH if is_depth else _CLASSES).format(target="target_sizes=[photo.size[::-1]]")
    return Use(
        library="transformers",
        files=f"For `transformers`, in this folder. It scales photos to {side} x {side} pixels, whatever their sides."
        + _of_frame(config),
        python=f"""\
import torch
from PIL import Image
from transformers import AutoImageProcessor, {loader}

model, processor = {loader}.from_pretrained("."), AutoImageProcessor.from_pretrained(".")
photo = Image.open("photo.jpg").convert("RGB")
with torch.no_grad():
    outputs = model(**processor(photo, return_tensors="pt"))
{result}
""",
    )


def _photo_side(config: DenseConfig) -> int:
    """Return the side in pixels of the photos that transformers' model gets: of a hybrid, its table's."""
    encoder = _encoder(config)
    return (config.image_size if encoder.resnet is None else encoder.table_size)[0]


def _of_frame(config: DenseConfig) -> str:
    if _photo_side(config) == config.image_size[0]:
        return ""
    height, width = config.image_size
    return f" samjax's frame is {height} x {width}: transformers' hybrids take photos of their position table alone."


def _loader(config: DenseConfig) -> str:
    return "DPTForDepthEstimation" if isinstance(config.head, DptDepthConfig) else "DPTForSemanticSegmentation"


def _encoder(config: DenseConfig) -> DptVitConfig:
    assert isinstance(config.encoder, DptVitConfig)
    return config.encoder


def _unused_arrays(config: DenseConfig) -> dict[str, np.ndarray]:
    """Return the arrays that transformers' model has besides."""
    head, width = config.head, _encoder(config).width
    assert isinstance(head, DptDepthConfig | DptSegmentationConfig)
    zeros, ones = (lambda *shape: np.zeros(shape, np.float32)), (lambda *shape: np.ones(shape, np.float32))
    arrays = {"dpt.layernorm.weight": ones(width), "dpt.layernorm.bias": zeros(width)}
    units = [f"neck.fusion_stage.layers.{layer}.residual_layer{unit}" for layer in range(4) for unit in (1, 2)]
    for number in (1, 2):
        arrays[f"{units[0]}.convolution{number}.weight"] = zeros(head.width, head.width, 3, 3)
        if not head.batch_norm:
            arrays[f"{units[0]}.convolution{number}.bias"] = zeros(head.width)
            continue
        norm = f"{units[0]}.batch_norm{number}"
        arrays |= {f"{norm}.{name}": zeros(head.width) for name in ("bias", "running_mean")}
        arrays |= {f"{norm}.{name}": ones(head.width) for name in ("weight", "running_var")}
    norms = [f"{unit}.batch_norm{number}" for unit in units for number in (1, 2)] if head.batch_norm else []
    if isinstance(head, DptSegmentationConfig):
        norms += ["head.head.1", *(["auxiliary_head.head.1"] if head.auxiliary else [])]
    return arrays | {f"{norm}.num_batches_tracked": np.zeros((), np.int64) for norm in norms}


def model_config(config: DenseConfig) -> dict[str, Any]:
    """Return config.json."""
    encoder, head = _encoder(config), config.head
    assert isinstance(head, DptDepthConfig | DptSegmentationConfig)
    fields = {
        "architectures": [_loader(config)],
        "model_type": "dpt",
        "dtype": "float32",
        "num_channels": 3,
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "intermediate_size": encoder.mlp_ratio * encoder.width,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "layer_norm_eps": encoder.epsilon,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "image_size": encoder.table_size[0],
        "patch_size": encoder.patch,
        "readout_type": "project",
        "reassemble_factors": reassemble_factors(config),
        "neck_hidden_sizes": neck_sizes(config),
        "fusion_hidden_size": head.width,
        "use_batch_norm_in_fusion_residual": head.batch_norm,
        "use_bias_in_fusion_residual": not head.batch_norm,
        "head_in_index": -1,
        "add_projection": False,
        "is_hybrid": encoder.resnet is not None,
        "backbone_out_indices": list(encoder.taps),
    }
    if isinstance(head, DptSegmentationConfig):
        fields |= {
            "use_auxiliary_head": head.auxiliary,
            "semantic_classifier_dropout": head.dropout,
            "semantic_loss_ignore_index": 255,
            **label_fields(config.class_names, config.classes),
        }
    return fields if encoder.resnet is None else fields | _hybrid_fields(encoder, encoder.resnet)


def _hybrid_fields(encoder: DptVitConfig, resnet: ResNetConfig) -> dict[str, Any]:
    height, width = (side // encoder.patch for side in encoder.table_size)
    return {
        "backbone_out_indices": [0, 1, *encoder.taps],
        "neck_ignore_stages": [0, 1],
        "backbone_featmap_shape": [1, resnet.widths[-1], height, width],
        "backbone_config": {
            "model_type": "bit",
            "embedding_size": resnet.stem,
            "hidden_sizes": list(resnet.widths),
            "depths": list(resnet.depths),
            "num_groups": resnet.groups,
            "layer_type": "bottleneck",
            "hidden_act": "relu",
            "global_padding": "same",
            "embedding_dynamic_padding": True,
            "out_features": ["stage1", "stage2", "stage3"],
        },
    }
