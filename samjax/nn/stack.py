"""Depth: blocks of one shape are one module with a leading axis, scanned."""

import enum
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from flax import nnx

from samjax.nn.rngs import initial_rngs

M = TypeVar("M", bound=nnx.Module)


class Remat(enum.Enum):
    """What a block's forward pass stores for the backward pass."""

    NONE = "none"
    """Everything."""
    DOTS = "dots"
    """The results of dense layers; attention and elementwise operations are recomputed."""
    FULL = "full"
    """The block's input alone."""


def rematerialise(apply: Callable[..., Any], policy: Remat) -> Callable[..., Any]:
    """Return `apply`, storing for its backward pass only what `policy` says.

    `prevent_cse` is off: the callers are bodies of `lax.scan`, where XLA cannot merge the two passes anyway.
    """
    match policy:
        case Remat.NONE:
            return apply
        case Remat.DOTS:
            saveable = jax.checkpoint_policies.dots_with_no_batch_dims_saveable
            return jax.checkpoint(apply, policy=saveable, prevent_cse=False)
        case Remat.FULL:
            return jax.checkpoint(apply, prevent_cse=False)


def stack(make: Callable[[nnx.Rngs], M], depth: int, *, rngs: nnx.Rngs) -> M:
    """Return one module whose parameters carry a leading axis of `depth` independent initialisations."""
    return jax.vmap(lambda key: make(initial_rngs(key)))(jax.random.split(rngs.params(), depth))


def several(make: Callable[[nnx.Rngs], M], count: int, *, rngs: nnx.Rngs) -> nnx.List[M]:
    """Return modules of one shape as a list, for those that `stack` does not suit, such as modules with batch norms.

    `make` is traced once.
    """
    build = jax.jit(lambda key: make(initial_rngs(key)))
    return nnx.List([build(key) for key in jax.random.split(rngs.params(), count)])


def layer(stacked: M, index: int) -> M:
    """Return one layer of a stacked module."""
    return jax.tree.map(lambda leaf: leaf[index], stacked)
