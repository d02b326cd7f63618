"""What a stage of a Swin transformer is made of (Liu et al. 2021)."""

import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jaxtyping import Array, Bool, Float

from samjax.models.swin.swin_sizes import EPSILON, PATCH, SwinSizes
from samjax.nn.drop_path import drop_path
from samjax.nn.init import VIT_INIT
from samjax.nn.mlp import Mlp
from samjax.nn.norm import layer_norm
from samjax.nn.patch import Patchify
from samjax.nn.window import Padding, pad_to_windows
from samjax.nn.window_attention import WindowAttention
from samjax.parallel.sharding import constrain


class PhotoPatches(nnx.Module):
    """The first stage's tokens: patches of the photo, and a norm. Sides that are no multiples of a patch get zeros."""

    def __init__(self, width: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.project = Patchify(3, width, PATCH, init=VIT_INIT, dtype=dtype, rngs=rngs)
        self.norm = layer_norm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)

    def __call__(self, image: Float[Array, "b h w 3"]) -> Float[Array, "b gh gw d"]:
        """Return the map of tokens."""
        padded = pad_to_windows(image, PATCH, fill=jnp.zeros(3, image.dtype))
        return constrain(self.norm(self.project(padded)), "batch", None, None, None)


class MergedPatches(nnx.Module):
    """A later stage's tokens: four neighbours' channels, a norm, and a projection to twice the channels.

    The neighbours' order is down first: (0, 0), (1, 0), (0, 1), (1, 1). Odd sides get a row or column of zeros.
    """

    def __init__(self, inputs: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.norm = layer_norm(4 * inputs, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.reduce = nnx.Linear(
            4 * inputs,
            2 * inputs,
            use_bias=False,
            kernel_init=VIT_INIT,
            kernel_metadata={"axes": (None, "embed")},
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, tokens: Float[Array, "b h w c"]) -> Float[Array, "b gh gw d"]:
        """Return the map of half the sides, rounded up."""
        padded = pad_to_windows(tokens, 2, fill=jnp.zeros(tokens.shape[-1], tokens.dtype))
        neighbours = rearrange(padded, "b (h p) (w q) c -> b h w (q p c)", p=2, q=2)
        return constrain(self.reduce(self.norm(neighbours)), "batch", None, None, None)


class SwinBlock(nnx.Module):
    """A pre-norm transformer block that attends within windows, which may be shifted."""

    def __init__(self, config: SwinSizes, stage: int, *, shift: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        width = config.widths[stage]
        self.norm1 = layer_norm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.attention = WindowAttention(
            width,
            config.heads[stage],
            window=config.window,
            padding=Padding.AFTER,
            shift=shift,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm2 = layer_norm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.mlp = Mlp(width, config.mlp_ratio * width, dtype=dtype, rngs=rngs)

    def __call__(
        self, tokens: Float[Array, "b h w d"], drop_rate: Float[Array, ""], keep: Bool[Array, "2 b"] | None
    ) -> Float[Array, "b h w d"]:
        """Apply to a map; `keep`, of each branch, None means no drop path."""
        attention, mlp = (None, None) if keep is None else keep
        tokens = tokens + drop_path(self.attention(self.norm1(tokens)), drop_rate, attention)
        tokens = tokens + drop_path(self.mlp(self.norm2(tokens)), drop_rate, mlp)
        return constrain(tokens, "batch", None, None, None)
