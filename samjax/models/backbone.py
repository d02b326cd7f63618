"""What all backbones have in common: a photo in, a tuple of maps out, which any head takes."""

import abc
from typing import ClassVar

import jax.numpy as jnp
from flax import nnx

from samjax.core.ranges import config_class
from samjax.core.tree import LayerIds


@config_class("model.encoder")
class BackboneConfig(abc.ABC):
    """Sizes of a backbone; its class is the kind.

    The module that it makes is called as `backbone(pixels, key=None, rows=None)`: normalised photos [b h w 3] in, maps
    [b h/stride w/stride channels] out. A `key` means training: it turns drop path on, and batch norms take the batch's
    own statistics. `rows` says which photos of a whole batch these are.
    """

    NAMED_KINDS: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def strides(self) -> tuple[int, ...]:
        """Pixels of the photo to a token, for each map; a later map is never finer."""

    @property
    @abc.abstractmethod
    def channels(self) -> tuple[int, ...]:
        """Channels of each map."""

    @property
    def lossless_multiple(self) -> int:
        """Sides of photos that are multiples of it lose no row or column of a map on the way."""
        return 1

    @property
    @abc.abstractmethod
    def layers(self) -> int:
        """How many layers `layer_ids` counts: a head's is the next."""

    @property
    def fixed_size(self) -> bool:
        """Whether a model sees photos of its frame's size alone, since tables of positions are made for it."""
        return False

    @abc.abstractmethod
    def make(self, *, image_size: tuple[int, int], dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.Module:
        """Return a backbone with initial parameters, for photos of `image_size` = (height, width)."""

    @abc.abstractmethod
    def layer_ids(self, prefix: str) -> LayerIds:
        """Return the layer of every parameter under `prefix`, from 0 to `layers` - 1."""
