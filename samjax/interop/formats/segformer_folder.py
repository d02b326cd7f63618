"""A folder for transformers' `SegformerForSemanticSegmentation.from_pretrained`, written without it."""

from pathlib import Path
from typing import Any

import numpy as np

from samjax.interop.card import Use
from samjax.interop.formats.transformers_folder import label_fields, write_transformers_folder
from samjax.interop.tables.segformer import HUB_EPSILON, SEGFORMER, WHOLE_HUB
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.all_mlp import AllMlpConfig
from samjax.models.pyramid.pyramid import PyramidConfig

_BILINEAR = 2  # Pillow's number


def write_segformer_folder(params: Any, buffers: Any, config: DenseConfig, folder: Path, _: None) -> Use:
    """Write config.json, model.safetensors and preprocessor_config.json.

    Raises:
      UserError: each photo is normalised with statistics of its own, or safetensors is not installed.
    """
    state = SEGFORMER.to_torch(params, buffers, config, WHOLE_HUB)
    state["decode_head.batch_norm.num_batches_tracked"] = np.zeros((), np.int64)  # nothing depends on it
    height, width = config.image_size
    processor = {
        "image_processor_type": "SegformerImageProcessor",
        "do_resize": True,
        "do_reduce_labels": False,
        "resample": _BILINEAR,
        "size": {"height": height, "width": width},
    }
    write_transformers_folder(
        folder, state, config=model_config(config), processor=processor, statistics=config.pixel_statistics
    )
    return Use(
        library="transformers",
        files=f"For `transformers`, in this folder.{_of_epsilon(config)}",
        python="""\
import torch
from PIL import Image
from transformers import AutoImageProcessor, SegformerForSemanticSegmentation

model, processor = SegformerForSemanticSegmentation.from_pretrained("."), AutoImageProcessor.from_pretrained(".")
photo = Image.open("photo.jpg").convert("RGB")
with torch.no_grad():
    outputs = model(**processor(photo, return_tensors="pt"))
(classes,) = processor.post_process_semantic_segmentation(outputs, target_sizes=[photo.size[::-1]])
""",
    )


def _of_epsilon(config: DenseConfig) -> str:
    assert isinstance(config.encoder, PyramidConfig)
    epsilon = config.encoder.epsilon
    if epsilon == HUB_EPSILON:
        return ""
    return (
        f" It computes every norm with an epsilon of {HUB_EPSILON:g}, samjax those of blocks with {epsilon:g}: logits "
        "differ in the fifth digit or later."
    )


def model_config(config: DenseConfig) -> dict[str, Any]:
    """Return config.json."""
    encoder, head = config.encoder, config.head
    assert isinstance(encoder, PyramidConfig)
    assert isinstance(head, AllMlpConfig)
    return {
        "architectures": ["SegformerForSemanticSegmentation"],
        "model_type": "segformer",
        "dtype": "float32",
        "num_channels": 3,
        "num_encoder_blocks": len(encoder.depths),
        "depths": list(encoder.depths),
        "sr_ratios": list(encoder.reductions),
        "hidden_sizes": list(encoder.widths),
        "patch_sizes": [7, 3, 3, 3],
        "strides": [4, 2, 2, 2],
        "num_attention_heads": list(encoder.heads),
        "mlp_ratios": list(encoder.mlp_ratios),
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "classifier_dropout_prob": head.dropout,
        "drop_path_rate": encoder.drop_path,
        "layer_norm_eps": encoder.epsilon,
        "decoder_hidden_size": head.width,
        "semantic_loss_ignore_index": 255,
        **label_fields(config.class_names, config.classes),
    }
