"""Dropout and stochastic depth as functions of a key: no key, no noise."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from samjax.core.random import Rows, draw_rows, split_each


def dropout(x: Float[Array, "*shape"], rate: float, key: Key[Array, "*n"] | None) -> Float[Array, "*shape"]:
    """Zero each element with probability `rate` and scale the rest by 1 / (1 - rate).

    `key` is one for all of `x`, or one for each of its samples, along its leading dimensions: then what a sample loses
    does not depend on the others.
    """
    if key is None or rate == 0.0:
        return x
    shape = x.shape[key.ndim :]
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, shape))(key.reshape(-1)).reshape(x.shape)
    return jnp.where(keep, x / (1.0 - rate), 0).astype(x.dtype)


def drop_channels(
    maps: Float[Array, "b h w c"], rate: float, key: Key[Array, ""] | None, rows: Rows | None = None
) -> Float[Array, "b h w c"]:
    """Zero whole channels of each photo with probability `rate`, scale the rest by 1 / (1 - rate).

    No `key` drops nothing; `rows` as for `draw_rows`.
    """
    if key is None or rate == 0.0:
        return maps
    channels = maps.shape[-1]
    keep = draw_rows(lambda photos: jax.random.bernoulli(key, 1.0 - rate, (photos, 1, 1, channels)), len(maps), rows)
    return jnp.where(keep, maps / (1.0 - rate), 0).astype(maps.dtype)


def draw_paths(
    keys: Key[Array, "*n"], rates: Float[Array, "*n"], samples: int, rows: Rows | None = None
) -> Bool[Array, "*n samples"]:
    """Draw which of `samples` each of n branches keeps, at its rate of dropping them; `rows` as for `draw_rows`.

    For all branches at once: on a TPU each draw of a few numbers executes a hundred instructions.
    """

    def draw_branch(key: Key[Array, ""], rate: Float[Array, ""]) -> Bool[Array, "samples"]:
        return draw_rows(lambda photos: jax.random.bernoulli(key, 1.0 - rate, (photos,)), samples, rows)

    return jax.vmap(draw_branch)(keys.reshape(-1), rates.reshape(-1)).reshape(*keys.shape, samples)


def drop_path(
    branch: Float[Array, "b *shape"], rate: float | Float[Array, ""], keep: Bool[Array, "b"] | None
) -> Float[Array, "b *shape"]:
    """Drop a residual branch whole for the samples not to `keep` (Huang et al. 2016), scale the rest by 1 / (1 - rate).

    `keep` None drops nothing.
    """
    if keep is None:
        return branch
    keep = keep.reshape(-1, *(1,) * (branch.ndim - 1))
    return jnp.where(keep, branch / (1.0 - rate), 0).astype(branch.dtype)


def draw_branches(
    key: Key[Array, ""] | None, rate: float, depth: int, image: Float[Array, "photos *shape"], rows: Rows | None
) -> tuple[Float[Array, "depth"], Bool[Array, "depth 2 photos"] | None]:
    """Return each block's rate, which rises linearly from 0 at the first to `rate` at the last, and which photos of
    `image` keep each of its two branches; None without a key or a rate, as in an export of any number of photos."""
    rates = jnp.linspace(0.0, rate, depth)
    if key is None or rate == 0.0:
        return rates, None
    keys = split_each(jax.random.split(key, depth), 2)
    return rates, draw_paths(keys, jnp.broadcast_to(rates[:, None], keys.shape), len(image), rows)
