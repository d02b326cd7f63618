"""Modules with drawn weights, without compiling their initialisation; programs that compile quickly."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from samjax.core.tree import map_with_names
from samjax.models.sam.sam import Sam, SamConfig
from samjax.nn.rngs import initial_rngs

M = TypeVar("M", bound=nnx.Module)


def normal(*shape: int, seed: int = 0) -> jax.Array:
    """Return standard normal float32 numbers."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def drawn(make: Callable[[], M], seed: int = 0) -> M:
    """Return `make()` with every parameter and buffer drawn, biases and position tables too."""
    return _draw(*nnx.split(nnx.eval_shape(make)), seed)


def drawn_sam(config: SamConfig, seed: int = 0) -> Sam:
    """Return a whole model with drawn weights."""
    return _draw(*_abstract_sam(config), seed)


@functools.cache
def _abstract_sam(config: SamConfig) -> tuple[nnx.GraphDef[Sam], nnx.State]:
    return nnx.split(nnx.eval_shape(lambda: Sam(config, rngs=initial_rngs(0))))


def _draw(graph: nnx.GraphDef[M], state: nnx.State, seed: int) -> M:
    generator = np.random.default_rng(seed)

    def draw(path: str, leaf: Any) -> jax.Array:
        noise = generator.normal(size=leaf.shape)
        if path.endswith("scale"):
            noise = 1 + 0.1 * noise
        elif path.endswith("kernel"):
            noise = 0.1 * noise
        return jnp.asarray(noise, leaf.dtype)

    return nnx.merge(graph, map_with_names(draw, nnx.to_pure_dict(state)))
