"""A batch of synthetic photos in their frames."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from samjax.data.masks.mask_data import MaskDataConfig, MaskExamples
from samjax.data.stream.loader import train_stream
from samjax.prompting.first_prompts import first_prompts
from samjax.prompting.interactive import InteractionConfig

FRAME = (240, 480)  # as wide as a cell of the batch's sheet: photos come through unscaled


def four_rows():
    """Three photos, the last narrower than the frame, and an empty row."""
    config = MaskDataConfig(source="synthetic:photos=3,size=120,masks=12,seed=5", max_masks=10)
    stream = train_stream(config, MaskExamples(config, image_size=FRAME), batch_size=4, seed=0)
    drawn = next(stream)
    stream.close()
    keep = jnp.array([True, True, True, False])
    return dataclasses.replace(
        drawn,
        mask_valid=drawn.mask_valid & keep[:, None],
        masks=drawn.masks * keep[:, None, None, None],
        record_id=jnp.where(keep, drawn.record_id, -1),
    )


def masks_of(batch):
    return np.unpackbits(np.asarray(batch.masks), axis=-1, count=FRAME[1]).astype(bool)


def prompts_of(batch, seed=0, **config):
    key = jax.random.key(seed)
    return jax.device_get(first_prompts(batch, image_size=FRAME, config=InteractionConfig(**config), key=key))
