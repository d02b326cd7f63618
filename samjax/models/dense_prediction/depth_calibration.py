"""How inverse depth becomes metres for DPT's models that were fine-tuned with measured depth."""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

LEAST = 1e-8
"""Inverse depth, in 1 / metres, below which there is none."""


@dataclass(frozen=True, kw_only=True)
class DepthCalibration:
    """depth = 1 / (scale x + shift), of the frame that a model was fine-tuned for."""

    scale: float
    shift: float
    """In 1 / metres: the inverse of the farthest depth."""
    image_size: tuple[int, int]
    """(height, width) of its photos, in pixels."""

    def depth(self, inverse: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Return depth in metres of what the model predicts."""
        return 1.0 / jnp.maximum(self.scale * inverse + self.shift, LEAST)


DPT_HYBRID_KITTI = DepthCalibration(scale=6.016e-5, shift=5.79e-3, image_size=(352, 1216))
"""DPT-Hybrid fine-tuned on KITTI: photos are cropped to this size, at the bottom and in the middle."""
DPT_HYBRID_NYU = DepthCalibration(scale=3.05e-4, shift=0.1378, image_size=(480, 640))
"""DPT-Hybrid fine-tuned on NYU Depth v2."""
