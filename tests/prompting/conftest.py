"""A decoder simple enough to predict, and masks to ask it about."""

import jax.numpy as jnp
import numpy as np
import pytest

from samjax.core.prompts import MaskOutput

LOGITS_SIZE = (8, 8)
SIZE = (32, 32)


@pytest.fixture
def masks():
    """Two photos of 32 x 32, the second padded, with three masks each; the last slot of each is empty."""
    masks = np.zeros((2, 3, *SIZE), bool)
    masks[0, 0, 4:20, 6:30] = True
    masks[0, 1, 17, 3] = True
    masks[1, 0, 2:9, 2:9] = masks[1, 0, 15:19, 10:20] = True
    masks[1, 1, :20, :24] = True
    return jnp.asarray(masks)


@pytest.fixture
def valid_size():
    return jnp.array([[32, 32], [20, 24]])


@pytest.fixture
def answer_with():
    """Return a maker of outputs from logits broadcast to four tokens and a list of four predicted IoUs."""

    def make(prompts, logits, iou=(0.0, 0.0, 0.0, 0.0)):
        images, masks = prompts.labels.shape[:2]
        return MaskOutput(
            logits=jnp.broadcast_to(logits, (images, masks, 4, *prompts.mask_logits.shape[-2:])),
            iou=jnp.broadcast_to(jnp.asarray(iou, jnp.float32), (images, masks, 4)),
        )

    return make
