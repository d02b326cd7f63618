"""The release's names for a SamModel's weights, by other means than the table."""

import re
from typing import TypeVar

T = TypeVar("T")


def released(state: dict[str, T]) -> dict[str, T]:
    """Return a SamModel's state dict, or what else is by its keys, under the release's: by renames, in order."""
    renames = [
        (
            r"^shared_image_embedding\.positional_embedding$",
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        ),
        (r"^vision_encoder\.", "image_encoder."),
        (r"patch_embed\.projection", "patch_embed.proj"),
        (r"^image_encoder\.layers\.", "image_encoder.blocks."),
        (r"neck\.conv1", "neck.0"),
        (r"neck\.layer_norm1", "neck.1"),
        (r"neck\.conv2", "neck.2"),
        (r"neck\.layer_norm2", "neck.3"),
        (r"\.point_embed\.", ".point_embeddings."),
        (r"mask_embed\.conv1", "mask_downscaling.0"),
        (r"mask_embed\.layer_norm1", "mask_downscaling.1"),
        (r"mask_embed\.conv2", "mask_downscaling.3"),
        (r"mask_embed\.layer_norm2", "mask_downscaling.4"),
        (r"mask_embed\.conv3", "mask_downscaling.6"),
        (r"upscale_conv1", "output_upscaling.0"),
        (r"upscale_layer_norm", "output_upscaling.1"),
        (r"upscale_conv2", "output_upscaling.3"),
        (r"(mlps\.\d|head)\.layers\.0", r"\1.layers.1"),
        (r"\.proj_in\.", ".layers.0."),
        (r"\.proj_out\.", ".layers.2."),
        (r"\.layer_norm", ".norm"),
    ]
    named = {}
    for key, array in state.items():
        if key != "prompt_encoder.shared_embedding.positional_embedding":
            for pattern, new in renames:
                key = re.sub(pattern, new, key)
            named[key] = array
    return named
