"""Segmenter's linear head: the classes of each token by one linear layer (Strudel et al. 2021, section 3.2)."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.random import Rows
from samjax.core.ranges import config_class
from samjax.models.backbone import BackboneConfig
from samjax.models.heads.head import HeadConfig, HeadOutput
from samjax.nn.init import VIT_INIT


@config_class("model.head")
class LinearConfig(HeadConfig):
    """A linear layer on a backbone's last map; it has no sizes of its own."""

    def make(self, *, encoder: BackboneConfig, classes: int, dtype: jnp.dtype, rngs: nnx.Rngs) -> "LinearHead":
        """Return the head of a backbone's last map."""
        return LinearHead(encoder.channels[-1], classes, dtype=dtype, rngs=rngs)


class LinearHead(nnx.Module):
    """Maps in, logits at the last one's resolution out; `channels` are that one's."""

    def __init__(self, channels: int, classes: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.classify = nnx.Linear(
            channels, classes, kernel_init=VIT_INIT, kernel_metadata={"axes": ("embed", None)}, dtype=dtype, rngs=rngs
        )

    def __call__(
        self,
        maps: tuple[Float[Array, "b _ _ _"], ...],
        *,
        key: Key[Array, ""] | None = None,
        rows: Rows | None = None,
    ) -> HeadOutput:
        """Return the logits; training is the same."""
        return HeadOutput(logits=self.classify(maps[-1]))
