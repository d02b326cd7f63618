"""Weights to send out and take in again."""

import jax
import numpy as np
from flax import nnx

from samjax.nn.structure import abstract_model


def drawn(config, seed: int = 0):
    """Return (parameters, buffers) of a model, every number drawn: no two arrays are alike."""
    generator = np.random.default_rng(seed)
    _, *parts = abstract_model(config.make)
    return tuple(
        jax.tree.map(lambda leaf: generator.normal(size=leaf.shape).astype(np.float32), nnx.to_pure_dict(part))
        for part in parts
    )
