"""Masks at the size of their photo, packed and unpacked, from logits that are on the host."""

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from samjax.core.sizes import power_of_two
from samjax.data.masks.packing import fitted_size
from samjax.predict.engine import Engine
from samjax.predict.promptable.restore import resize_plans


def restore_masks(
    engine: Engine, logits: Float32[np.ndarray, "m k low_h low_w"], *, photo: tuple[int, int]
) -> Bool[np.ndarray, "m k h w"]:
    """Return the masks of a `LogitsPrediction` at the size of its photo, (h, w), as `Predictor.predict` makes them.

    Equal bit for bit if all masks of the prediction are given: the program is then the same.
    """
    config, (m, kinds) = engine.config, logits.shape[:2]
    fitted = fitted_size(height=photo[0], width=photo[1], frame=config.image_size)
    given = np.zeros((engine.ways, power_of_two(m), *logits.shape[1:]), np.float32)
    given[0, :m] = logits
    plans = resize_plans(
        [photo] * engine.ways, low=config.logits_size, frame=config.image_size, fitted=[fitted] * engine.ways
    )
    packed = engine.restore(engine.split(in_a_row(given)), engine.split(plans))
    return unpack_masks(np.asarray(packed)[0], objects=m, kinds=kinds, photo=photo)


def in_a_row(logits):
    """Return logits of m objects with k masks each as those of m * k masks."""
    return logits.reshape(logits.shape[0], -1, *logits.shape[3:])


def unpack_masks(
    packed: UInt8[np.ndarray, "n rows packed_w"], *, objects: int, kinds: int, photo: tuple[int, int]
) -> Bool[np.ndarray, "m k h w"]:
    """Return the masks of m objects with k masks each, which `Engine.restore` packed for a photo of (h, w)."""
    height, width = photo
    masks = np.unpackbits(packed[: objects * kinds, :height], axis=-1, count=width).astype(bool)
    return masks.reshape(objects, kinds, height, width)
