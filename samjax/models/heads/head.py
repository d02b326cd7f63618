"""What all heads have in common: a backbone's maps in, logits for every pixel out."""

import abc
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from samjax.core.ranges import config_class
from samjax.core.struct import struct
from samjax.models.backbone import BackboneConfig


@struct
class HeadOutput:
    """Logits at the head's own resolution, which the model enlarges to the photo's."""

    logits: Float[Array, "b h w classes"]
    auxiliary: tuple[Float[Array, "b _ _ classes"], ...] = ()
    """Of heads that exist for training alone, see `HeadConfig`."""


@config_class("model.head")
class HeadConfig(abc.ABC):
    """Sizes of a head; its class is the kind.

    The module that it makes is called as `head(maps, key=None, rows=None)` and returns a `HeadOutput`. A `key` means
    training: it turns dropout on, and batch norms take the batch's own statistics.
    """

    NAMED_KINDS: ClassVar[bool] = True
    ALIGN_CORNERS: ClassVar[bool] = False
    """How its logits are enlarged to the photo: whether the corners' centres stay the corners' centres, as PyTorch's
    `interpolate` calls it."""

    GIVES_DEPTH: ClassVar[bool] = False
    """Whether its one channel is inverse depth, not a class."""
    MAPS: ClassVar[int | None] = None
    """How many maps it takes; None takes any number."""
    LEAST_CLASSES: ClassVar[int] = 2
    """How many classes it can learn to tell apart at the least."""

    @abc.abstractmethod
    def make(self, *, encoder: BackboneConfig, classes: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Module:
        """Return a head with initial parameters for the maps of `encoder`."""
