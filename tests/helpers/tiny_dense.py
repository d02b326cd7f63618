"""A dense prediction model with every part, of a size that compiles in seconds."""

from pathlib import Path

import numpy as np
from flax import nnx

from samjax.checkpoint.load import model_record
from samjax.checkpoint.weights import save_weights
from samjax.core.tree import map_with_names
from samjax.models.dense_prediction.dense_model import DenseConfig
from samjax.models.heads.all_mlp import AllMlpConfig
from samjax.models.heads.dpt import DptDepthConfig
from samjax.models.pyramid.pyramid import PyramidConfig
from samjax.models.vit.dpt_vit import DptVitConfig
from samjax.nn.structure import abstract_model


def tiny_dense(**changes) -> DenseConfig:
    """Return a SegFormer of three classes for frames of 64 x 64 pixels, float32; `changes` to any field."""
    fields = {
        "image_size": (64, 64),
        "classes": 3,
        "encoder": PyramidConfig(widths=(4, 8, 10, 16), depths=(1, 2, 1, 1)),
        "head": AllMlpConfig(width=8),
        "dtype": "float32",
    }
    return DenseConfig(**{**fields, **changes})


def tiny_depth(**changes) -> DenseConfig:
    """Return a DPT for depth of frames of 64 x 64 pixels, float32; `changes` to any field."""
    fields = {
        "classes": 1,
        "encoder": DptVitConfig(width=8, depth=4, heads=2, taps=(0, 1, 2, 3), table_size=(64, 64)),
        "head": DptDepthConfig(width=8, map_widths=(4, 4, 4, 4), hidden=4),
    }
    return tiny_dense(**{**fields, **changes})


def save_dense(config: DenseConfig, path: Path) -> Path:
    """Write a checkpoint of drawn weights, loud enough to tell pixels apart; return its folder."""
    _, params, buffers = abstract_model(config.make)
    draw = np.random.default_rng(1)

    def drawn(name: str, leaf) -> np.ndarray:
        if name == "head/norm/bias":  # few units are on: else one class is the likeliest everywhere
            return np.full(leaf.shape, -1.0, np.float32)
        if name.endswith(("scale", "variance")):
            return np.ones(leaf.shape, np.float32)
        deviation = 1.5 / np.sqrt(np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 0.02
        return draw.normal(0.0, deviation, leaf.shape).astype(np.float32)

    params, buffers = (map_with_names(drawn, nnx.to_pure_dict(one)) for one in (params, buffers))
    save_weights(path, params=params, buffers=buffers, config=model_record(config))
    return path
