"""A folder for transformers' `from_pretrained`, written without transformers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samjax.core.optional import optional
from samjax.nn.pixels import PIXEL_MEAN, PIXEL_STD, PixelStatistics


def write_transformers_folder(
    folder: Path,
    state: dict[str, np.ndarray],
    *,
    config: Mapping[str, Any],
    processor: Mapping[str, Any],
    statistics: PixelStatistics = PixelStatistics.IMAGENET,
) -> None:
    """Write model.safetensors, config.json and preprocessor_config.json.

    Args:
      folder: where to write.
      state: the state dict.
      config: config.json.
      processor: preprocessor_config.json but for the scaling of pixels.
      statistics: those that photos are normalised with; a photo's own are in no such file.

    Raises:
      UserError: safetensors is not installed.
    """
    save_arrays = optional("safetensors.numpy", extra="interop").save_file
    save_arrays(state, folder / "model.safetensors", metadata={"format": "pt"})
    mean, deviation = {
        PixelStatistics.IMAGENET: (PIXEL_MEAN, PIXEL_STD),
        PixelStatistics.HALF: ((127.5,) * 3, (127.5,) * 3),
    }[statistics]
    scaling = {
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [round(one / 255, 6) for one in mean],
        "image_std": [round(one / 255, 6) for one in deviation],
    }
    for name, content in [("config.json", config), ("preprocessor_config.json", {**processor, **scaling})]:
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


def label_fields(names: Sequence[str], classes: int) -> dict[str, Any]:
    """Return the fields of config.json that name classes; without names they get transformers' own, `LABEL_0`."""
    names = names or [f"LABEL_{number}" for number in range(classes)]
    return {
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }
