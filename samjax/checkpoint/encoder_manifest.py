"""All that changes a photo's embedding, as JSON: what a cache of embeddings belongs to."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from samjax.checkpoint.checksums import record


def describe_encoder(model: Any, params: Mapping[str, Any], buffers: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that changes a photo's embedding, as JSON takes it: a cache's manifest.

    `model` is a `SamConfig`. Parameters and buffers are those of the whole model; of their arrays the checksums of a
    checkpoint are taken, so that nothing leaves its device.
    """
    encoder = {
        field.name: getattr(model.image_encoder, field.name)
        for field in dataclasses.fields(model.image_encoder)
        if field.name not in ("drop_path", "remat")
    }
    return {
        "format": 1,
        "frame": list(model.image_size),
        "channels": model.embedding_shape[-1],
        "dtype": model.dtype,
        "pixels": model.pixel_statistics.value,
        "encoder": {name: getattr(value, "value", value) for name, value in encoder.items()},
        "weights": weights_digest(params["image_encoder"], buffers.get("image_encoder", {})),
    }


def weights_digest(params: Mapping[str, Any], buffers: Mapping[str, Any]) -> str:
    """Return 64 hexadecimal digits that stand for these arrays, the same wherever they are."""
    arrays, _ = record({"params": params, "buffers": buffers})
    return hashlib.sha256(json.dumps(arrays, sort_keys=True).encode()).hexdigest()
