"""Mask2Former's transformer decoder: queries attend where their masks of before are (Cheng et al. 2022)."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32

from samjax.core.struct import struct
from samjax.models.query_masks.mask2former_sizes import EPSILON, LEVELS, Mask2FormerSizes
from samjax.nn.feature_pyramid import Maps
from samjax.nn.head_projections import into_heads, out_of_heads
from samjax.nn.init import DECODER_INIT, XAVIER, parameter
from samjax.nn.interpolate import interpolate
from samjax.nn.mlp import Mlp
from samjax.nn.norm import layer_norm
from samjax.nn.sin_cos import sine_table
from samjax.nn.stack import stack


@struct
class QueryMasks:
    """What queries say, before the first layer and after each: n predictions."""

    class_logits: Float32[Array, "n b q k"]
    """Of each class, and of none, the last."""
    embeddings: Float[Array, "n b q d"]
    """Of masks: a mask's logits are their products with the map."""
    mask_map: Float[Array, "b h w d"]
    """What masks are made of, at stride 4."""

    def mask_logits(self) -> Float32[Array, "b q h w"]:
        """Return the last prediction's masks."""
        return mask_logits(self.embeddings[-1], self.mask_map)


def mask_logits(embeddings: Float[Array, "b q d"], mask_map: Float[Array, "b h w d"]) -> Float32[Array, "b q h w"]:
    """Return the logits of each query's mask."""
    return jnp.einsum("bqd,bhwd->bqhw", embeddings, mask_map, preferred_element_type=jnp.float32)


class QueryAttention(nnx.Module):
    """Attention of queries whose positions, and the keys', are no part of what is read."""

    def __init__(self, width: int, heads: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.qkv = into_heads(width, heads, parts=(3,), init=XAVIER, dtype=dtype, rngs=rngs)
        self.out = out_of_heads(width, heads, init=XAVIER, dtype=dtype, rngs=rngs)

    def __call__(
        self,
        queries: Float[Array, "b q d"],
        keys: Float[Array, "b t d"],
        values: Float[Array, "b t d"],
        sees: Bool[Array, "b q t"] | None = None,
    ) -> Float[Array, "b q d"]:
        """Attend; a query gives no weight to a key that it does not see. Softmax in float32."""
        q, k, v = (self._project(part, tokens) for part, tokens in enumerate((queries, keys, values)))
        scores = jnp.einsum("bqec,btec->beqt", q * q.shape[-1] ** -0.5, k, preferred_element_type=jnp.float32)
        if sees is not None:
            scores = jnp.where(sees[:, None], scores, jnp.finfo(jnp.float32).min)
        weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
        return self.out(jnp.einsum("beqt,btec->bqec", weights, v))

    def _project(self, part: int, tokens: Float[Array, "b t d"]) -> Float[Array, "b t e c"]:
        assert self.qkv.bias is not None
        kernel, bias = self.qkv.kernel[...][:, part], self.qkv.bias[...][part]
        return jnp.einsum("btd,dec->btec", tokens, kernel.astype(tokens.dtype)) + bias.astype(tokens.dtype)


class MaskedLayer(nnx.Module):
    """A post-norm layer: attention to a map, to each other, and an MLP."""

    def __init__(self, config: Mask2FormerSizes, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        width = config.width

        def norm() -> nnx.LayerNorm:
            return layer_norm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)

        self.to_map = QueryAttention(width, config.heads, dtype=dtype, rngs=rngs)
        self.norm1 = norm()
        self.to_queries = QueryAttention(width, config.heads, dtype=dtype, rngs=rngs)
        self.norm2 = norm()
        self.mlp = Mlp(width, config.hidden, activation=jax.nn.relu, init=XAVIER, dtype=dtype, rngs=rngs)
        self.norm3 = norm()

    def __call__(
        self,
        queries: Float[Array, "b q d"],
        position: Float[Array, "q d"],
        tokens: Float[Array, "b t d"],
        table: Float[Array, "t d"],
        sees: Bool[Array, "b q t"],
    ) -> Float[Array, "b q d"]:
        """Apply to queries at `position`; `tokens` are the map's, at the positions of `table`."""
        queries = self.norm1(queries + self.to_map(queries + position, tokens + table, tokens, sees))
        placed = queries + position
        queries = self.norm2(queries + self.to_queries(placed, placed, queries))
        return self.norm3(queries + self.mlp(queries))


class Round(nnx.Module):
    """A layer for each map."""

    def __init__(self, config: Mask2FormerSizes, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.layers = stack(lambda rngs: MaskedLayer(config, dtype=dtype, rngs=rngs), LEVELS, rngs=rngs)


class MaskedDecoder(nnx.Module):
    """The maps of a pixel decoder in, classes and masks of every query out.

    Args:
      config: its sizes.
      classes: how many there are, without "none".
      dtype: of activations and matrix products.
    """

    def __init__(self, config: Mask2FormerSizes, classes: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        width = config.width

        def table(rows: int) -> nnx.Param:
            return parameter(nnx.initializers.normal(1.0), (rows, width), axes=(None, "embed"), rngs=rngs)

        def linear(outputs: int) -> nnx.Linear:
            axes = {"axes": ("embed", None)}
            return nnx.Linear(width, outputs, kernel_init=DECODER_INIT, kernel_metadata=axes, dtype=dtype, rngs=rngs)

        self.queries, self.position, self.level = table(config.queries), table(config.queries), table(LEVELS)
        rounds = config.layers // LEVELS
        self.rounds = stack(lambda rngs: Round(config, dtype=dtype, rngs=rngs), rounds, rngs=rngs)
        self.norm = layer_norm(width, epsilon=EPSILON, dtype=dtype, rngs=rngs)
        self.classes = linear(classes + 1)
        self.masks = nnx.List([linear(width) for _ in range(3)])

    def __call__(self, maps: Maps, mask_map: Float[Array, "b h w d"]) -> QueryMasks:
        """Return the predictions; `maps` are the coarsest first."""
        batch, dtype = maps[0].shape[0], mask_map.dtype
        tokens = [
            one.reshape(batch, -1, one.shape[-1]) + level.astype(dtype)
            for one, level in zip(maps, self.level[...], strict=True)
        ]
        grids = [(one.shape[1], one.shape[2]) for one in maps]
        width = mask_map.shape[-1]
        tables = [sine_table(grid, width).reshape(-1, width).astype(dtype) for grid in grids]
        position = self.position[...].astype(dtype)

        def of_round(before: tuple[Array, Array], one: Round) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
            queries, masks = before
            said = []
            for level, grid in enumerate(grids):
                layer = jax.tree.map(lambda leaf, level=level: leaf[level], one.layers)
                queries = layer(queries, position, tokens[level], tables[level], _seen(masks, mask_map, grid))
                said.append(self._say(queries))
                masks = said[-1][1]
            classes, embeddings = (jnp.stack(part) for part in zip(*said, strict=True))
            return (queries, masks), (classes, embeddings)

        queries = jnp.broadcast_to(self.queries[...].astype(dtype), (batch, *self.queries.shape))
        first = self._say(queries)
        _, said = jax.lax.scan(of_round, (queries, first[1]), self.rounds)
        classes, embeddings = (
            jnp.concatenate([before[None], after.reshape(-1, *before.shape)])
            for before, after in zip(first, said, strict=True)
        )
        return QueryMasks(class_logits=classes, embeddings=embeddings, mask_map=mask_map)

    def _say(self, queries: Float[Array, "b q d"]) -> tuple[Float32[Array, "b q k"], Float[Array, "b q d"]]:
        normed = self.norm(queries)
        first, second, third = self.masks
        embeddings = third(jax.nn.relu(second(jax.nn.relu(first(normed)))))
        return self.classes(normed).astype(jnp.float32), embeddings


def _seen(
    embeddings: Float[Array, "b q d"], mask_map: Float[Array, "b h w d"], grid: tuple[int, int]
) -> Bool[Array, "b q t"]:
    """Return which tokens of a map of `grid` = (height, width) each query sees: those in its mask, all if none is."""
    logits = jax.lax.stop_gradient(mask_logits(embeddings, mask_map))
    small = interpolate(jnp.moveaxis(logits, 1, -1), grid)
    inside = jnp.moveaxis(jax.nn.sigmoid(small) >= 0.5, -1, 1).reshape(*embeddings.shape[:2], -1)
    return inside | ~inside.any(axis=-1, keepdims=True)
