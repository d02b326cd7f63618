"""Multi-scale deformable attention (Zhu et al. 2021): each query reads a few points of each map, wherever it looks."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from samjax.nn.init import XAVIER
from samjax.nn.point_reading import Values, read_points

Grids = tuple[tuple[int, int], ...]


class DeformableAttention(nnx.Module):
    """Attention of queries to `levels` maps of `width` channels, at `points` points of each by each head.

    At the start the heads look in directions around a query's own place, the points 1, 2, ... cells away, and all weigh
    alike.
    """

    def __init__(self, width: int, *, heads: int, levels: int, points: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.heads, self.levels, self.points, self.dtype = heads, levels, points, dtype

        def linear(outputs: int, **changes) -> nnx.Linear:
            given = {"kernel_init": XAVIER, "kernel_metadata": {"axes": ("embed", None)}, "dtype": dtype, **changes}
            return nnx.Linear(width, outputs, rngs=rngs, **given)

        # Where to look and how much is float32 whatever the rest is: half a cell is a tenth of a percent of a map.
        plain = {"kernel_init": nnx.initializers.zeros, "dtype": jnp.float32}
        self.offsets = linear(
            heads * levels * points * 2,
            bias_init=lambda *_: jnp.asarray(first_offsets(heads, levels, points).ravel()),
            **plain,
        )
        self.weights = linear(heads * levels * points, **plain)
        self.value, self.out = linear(width), linear(width)

    def __call__(
        self,
        queries: Float[Array, "b q d"],
        places: Float[np.ndarray | Array, "#b q 2"],
        tokens: Float[Array, "b t d"],
        grids: Grids,
    ) -> Float[Array, "b q d"]:
        """Attend.

        Args:
          queries: what decides where to look.
          places: each query's own (x, y), as a share of a map's sides.
          tokens: the maps, one after another, row by row.
          grids: (height, width) of each map.
        """
        shape = (*queries.shape[:2], self.heads, self.levels, self.points)
        offsets = self.offsets(queries.astype(jnp.float32)).reshape(*shape, 2)
        weights = self.weights(queries.astype(jnp.float32)).reshape(*shape[:3], -1)
        weights = jax.nn.softmax(weights, axis=-1).reshape(shape)
        sides = np.array([(width, height) for height, width in grids], np.float32)
        # In pixels, whose centres are at whole numbers.
        points = jnp.asarray(places)[:, :, None, None, None] * sides[:, None] + offsets - 0.5
        found = read_points(split_maps(self.value(tokens), grids, self.heads), points, weights)
        return self.out(found.reshape(*queries.shape).astype(self.dtype))


def first_offsets(heads: int, levels: int, points: int) -> Float[np.ndarray, "heads levels points 2"]:
    """Return where heads look at first: around the place, on the sides of a square, further with each point."""
    angles = np.arange(heads) * (2 * math.pi / heads)
    around = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    around /= np.abs(around).max(axis=-1, keepdims=True)
    far = around[:, None, None] * np.arange(1, points + 1)[:, None]
    return np.broadcast_to(far, (heads, levels, points, 2)).astype(np.float32)


def split_maps(tokens: Float[Array, "b t d"], grids: Grids, heads: int) -> Values:
    """Return tokens as maps, and their channels as heads'."""
    ends = np.cumsum([height * width for height, width in grids])
    parts = jnp.split(tokens, ends[:-1], axis=1)
    return tuple(part.reshape(part.shape[0], *grid, heads, -1) for part, grid in zip(parts, grids, strict=True))
