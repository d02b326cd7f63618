"""Low-rank adapters (LoRA, Hu et al. 2021): a frozen kernel W acts as W + alpha / rank * A B, of which A and B learn.

Adapters are a tree of their own beside the parameters: at a kernel's path, `down` (A) and `up` (B). They are added to
the kernels before a module is made of these, so no layer knows of them. Inputs and outputs count as one axis each,
whatever their heads; see `nn.dense`.
"""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key

from samjax.core.errors import UserError
from samjax.core.ranges import CountOrNone, Range, config_class
from samjax.core.tree import find_among, map_with_names, named_leaves, nest
from samjax.nn.dense import dense_kernels
from samjax.nn.rngs import initial_rngs
from samjax.parallel.sharding import logical_axes

DOWN, UP = "down", "up"


@config_class("adapters")
class AdaptersConfig:
    """Low-rank adapters of dense layers; their kernels are frozen."""

    rank: CountOrNone = 0
    """Columns of an adapter's first matrix and rows of its second; 0 makes no adapters."""
    alpha: Annotated[float, Range(above=0, why="adapters are scaled by it over the rank")] = 16.0
    """An adapter's product is multiplied by alpha / rank."""
    kernels: tuple[str, ...] = ("*encoder/groups/**/kernel",)
    """Patterns over the paths of parameters: the dense layers' kernels that match get adapters. By default those of
    attention and MLPs in the image encoder."""

    def __post_init__(self):
        if self.rank and not self.kernels:
            raise UserError("adapters.kernels is empty, so nothing would be adapted: give patterns, or adapters.rank 0")

    @property
    def scale(self) -> float:
        """What an adapter's product is multiplied by."""
        return self.alpha / self.rank if self.rank else 0.0


@dataclass(frozen=True, kw_only=True)
class AdapterPlan:
    """Adapters as shapes: trees with `down` and `up` at the path of each kernel."""

    shapes: Any
    axes: Any
    """The logical names of each array's axes."""
    kernels: frozenset[str]
    """Paths of the kernels that they adapt."""


def plan_adapters(config: AdaptersConfig, make: Callable[..., nnx.Module]) -> AdapterPlan:
    """Return the adapters of the module that `make` makes; none at rank 0.

    Raises:
      UserError: a pattern matches no parameter, or no kernel of a dense layer.
    """
    if not config.rank:
        return AdapterPlan(shapes={}, axes={}, kernels=frozenset())
    module = nnx.eval_shape(lambda: make(rngs=initial_rngs(0)))
    variables = nnx.state(module, nnx.Param)
    leaves = named_leaves(nnx.to_pure_dict(variables))
    axes = named_leaves(logical_axes(variables), is_leaf=lambda node: isinstance(node, tuple))
    layers, shapes, named = dense_kernels(module), {}, {}
    for name in find_among(config.kernels, leaves, layers, what="kernel of a dense layer", option="adapters.kernels"):
        (inputs, outputs), shape, names = layers[name], leaves[name].shape, axes[name]
        stack = len(shape) - inputs - outputs
        width, out = math.prod(shape[stack : stack + inputs]), math.prod(shape[stack + inputs :])
        shapes[f"{name}/{DOWN}"] = jax.ShapeDtypeStruct((*shape[:stack], width, config.rank), jnp.float32)
        shapes[f"{name}/{UP}"] = jax.ShapeDtypeStruct((*shape[:stack], config.rank, out), jnp.float32)
        named[f"{name}/{DOWN}"] = (*names[:stack], names[stack] if inputs == 1 else None, None)
        named[f"{name}/{UP}"] = (*names[:stack], None, names[-1] if outputs == 1 else None)
    kernels = frozenset(name.rpartition("/")[0] for name in shapes)
    return AdapterPlan(shapes=nest(shapes), axes=nest(named), kernels=kernels)


def init_adapters(plan: AdapterPlan, key: Key[Array, ""]) -> Any:
    """Return fresh adapters: A is Gaussian, of variance 1 over the inputs, and B zero, so that they change nothing.

    A kernel's draw does not depend on which others are adapted.
    """

    def draw(name: str, leaf: jax.ShapeDtypeStruct) -> Float[Array, "*shape"]:
        if name.endswith(f"/{UP}"):
            return jnp.zeros(leaf.shape, leaf.dtype)
        own = jax.random.fold_in(key, zlib.crc32(name.encode()))
        return jax.random.normal(own, leaf.shape, leaf.dtype) / math.sqrt(leaf.shape[-2])

    return map_with_names(draw, plan.shapes)


def merge_adapters(params: Mapping[Any, Any], part: Mapping[Any, Any], *, scale: float) -> dict[Any, Any]:
    """Return `params` with the leaves of `part` in their place, and its adapters added to their kernels.

    A dictionary of `part` in the place of an array of `params` is an adapter. Arrays are JAX's or NumPy's; `scale` is
    `AdaptersConfig.scale`.
    """
    merged = dict(params)
    for key, value in part.items():
        below = merged.get(key)
        if not isinstance(value, Mapping):
            merged[key] = value
        elif below is None or isinstance(below, Mapping):
            merged[key] = merge_adapters(below or {}, value, scale=scale)
        else:
            merged[key] = below + np.float32(scale) * _product(value[DOWN], value[UP]).reshape(below.shape)
    return merged


def _product(down: Any, up: Any) -> Any:
    if isinstance(down, np.ndarray):
        return down @ up
    return jnp.matmul(down, up, precision=jax.lax.Precision.HIGHEST)
