"""A folder for transformers' `from_pretrained`, written without transformers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from samjax.core.optional import optional
from samjax.nn.pixels import PIXEL_MEAN, PIXEL_STD


def write_transformers_folder(
    folder: Path, state: dict[str, np.ndarray], *, config: Mapping[str, Any], processor: Mapping[str, Any]
) -> None:
    """Write model.safetensors, config.json and preprocessor_config.json.

    Args:
      folder: where to write.
      state: the state dict.
      config: config.json.
      processor: preprocessor_config.json but for the scaling of pixels, which is the same for every model.

    Raises:
      UserError: safetensors is not installed.
    """
    save_arrays = optional("safetensors.numpy", extra="interop").save_file
    save_arrays(state, folder / "model.safetensors", metadata={"format": "pt"})
    scaling = {
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [round(mean / 255, 6) for mean in PIXEL_MEAN],
        "image_std": [round(std / 255, 6) for std in PIXEL_STD],
    }
    for name, content in [("config.json", config), ("preprocessor_config.json", {**processor, **scaling})]:
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
