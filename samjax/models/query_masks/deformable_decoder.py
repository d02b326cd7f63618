"""Mask2Former's pixel decoder: maps that read one another by deformable attention, and one more at stride 4."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from samjax.models.query_masks.mask2former_sizes import EPSILON, GROUPS, LEVELS, Mask2FormerSizes
from samjax.nn.deformable import DeformableAttention, Grids
from samjax.nn.feature_pyramid import Maps
from samjax.nn.init import DECODER_INIT, XAVIER, parameter
from samjax.nn.interpolate import interpolate
from samjax.nn.mlp import Mlp
from samjax.nn.norm import group_norm, layer_norm
from samjax.nn.sin_cos import sine_table
from samjax.nn.stack import stack


class NormedMap(nnx.Module):
    """A convolution of a map and a group norm; `size` is the kernel's side."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        size: int = 1,
        use_bias: bool = False,
        init: nnx.Initializer = DECODER_INIT,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.conv = nnx.Conv(
            inputs,
            outputs,
            (size, size),
            padding=size // 2,
            use_bias=use_bias,
            kernel_init=init,
            kernel_metadata={"axes": (None, None, None, "embed")},
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = group_norm(outputs, GROUPS, dtype=dtype, rngs=rngs)

    def __call__(self, maps: Float[Array, "b h w c"]) -> Float[Array, "b h w d"]:
        """Return the map of the same size."""
        return self.norm(self.conv(maps))


class DeformableLayer(nnx.Module):
    """A post-norm transformer layer whose attention is deformable."""

    def __init__(self, config: Mask2FormerSizes, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        width = config.width
        self.attention = DeformableAttention(
            width, heads=config.heads, levels=LEVELS, points=config.points, dtype=dtype, rngs=rngs
        )
        self.norm1 = layer_norm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.mlp = Mlp(width, config.pixel_hidden, activation=jax.nn.relu, init=XAVIER, dtype=dtype, rngs=rngs)
        self.norm2 = layer_norm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        tokens: Float[Array, "b t d"],
        position: Float[Array, "1 t d"],
        places: Float[np.ndarray, "1 t 2"],
        grids: Grids,
    ) -> Float[Array, "b t d"]:
        """Apply to all maps' tokens. Positions say where to look; they are not in what is read."""
        tokens = self.norm1(tokens + self.attention(tokens + position, places, tokens, grids))
        return self.norm2(tokens + self.mlp(tokens))


class DeformableDecoder(nnx.Module):
    """A backbone's four maps in; three that the queries attend to, and the one that masks are made of, out.

    Args:
      config: its sizes.
      channels: of the backbone's maps, the finest first.
      dtype: of activations and matrix products, but where to look.
    """

    def __init__(self, config: Mask2FormerSizes, channels: tuple[int, ...], *, dtype: jnp.dtype, rngs: nnx.Rngs):
        width = config.width
        same = {"dtype": dtype, "rngs": rngs}
        self.project = nnx.List([NormedMap(one, width, use_bias=True, init=XAVIER, **same) for one in channels[:0:-1]])
        self.level = parameter(nnx.initializers.normal(1.0), (LEVELS, width), axes=(None, "embed"), rngs=rngs)
        self.layers = stack(
            lambda rngs: DeformableLayer(config, dtype=dtype, rngs=rngs), config.pixel_layers, rngs=rngs
        )
        self.lateral = NormedMap(channels[0], width, **same)
        self.smooth = NormedMap(width, width, size=3, **same)
        self.masks = nnx.Linear(
            width, width, kernel_init=DECODER_INIT, kernel_metadata={"axes": ("embed", None)}, **same
        )

    def __call__(self, maps: Maps) -> tuple[Maps, Float[Array, "b h w d"]]:
        """Return the maps at strides 32, 16 and 8, the coarsest first, and that of masks, at stride 4."""
        finest, *others = maps
        levels = [project(one) for project, one in zip(self.project, others[::-1], strict=True)]
        grids = tuple((one.shape[1], one.shape[2]) for one in levels)
        tokens = jnp.concatenate([one.reshape(one.shape[0], -1, one.shape[3]) for one in levels], axis=1)
        tables = [
            (sine_table(grid, tokens.shape[-1]) + level).reshape(-1, tokens.shape[-1])
            for grid, level in zip(grids, self.level[...], strict=True)
        ]
        position = jnp.concatenate(tables)[None].astype(tokens.dtype)
        places = np.concatenate([_centres(grid) for grid in grids])[None]
        tokens, _ = jax.lax.scan(
            lambda tokens, layer: (layer(tokens, position, places, grids), None), tokens, self.layers
        )
        ends = np.cumsum([height * width for height, width in grids])
        parts = jnp.split(tokens, ends[:-1], axis=1)
        seen = tuple(part.reshape(part.shape[0], *grid, -1) for part, grid in zip(parts, grids, strict=True))
        lateral = self.lateral(finest)
        fine = lateral + interpolate(seen[-1], (lateral.shape[1], lateral.shape[2]))
        return seen, self.masks(jax.nn.relu(self.smooth(fine)))


def _centres(grid: tuple[int, int]) -> Float[np.ndarray, "t 2"]:
    """Return (x, y) of each cell's centre, as a share of the map's sides."""
    rows, columns = np.mgrid[: grid[0], : grid[1]]
    return np.stack([(columns.ravel() + 0.5) / grid[1], (rows.ravel() + 0.5) / grid[0]], axis=-1).astype(np.float32)
