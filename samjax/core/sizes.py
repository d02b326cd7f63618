"""Sizes of groups and batches: equal parts to work on in sequence, and few shapes to compile."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array


def largest_divisor(whole: int, most: int) -> int:
    """Return the largest divisor of `whole` that is at most `most`; at least 1, however small `most` is."""
    return max(part for part in range(1, max(1, min(whole, most)) + 1) if whole % part == 0)


def power_of_two(count: int) -> int:
    """Return `count` rounded up to a power of two, at least 1, so that few shapes are compiled."""
    return 1 << max(0, count - 1).bit_length()


def map_groups(function: Callable[..., Any], *trees: Any, at_once: int) -> Any:
    """Map `function` over groups of axis 1 of the arrays in `trees`, of at most `at_once` each.

    Groups are cut by a dynamic slice: moving the axis to the front would copy every array.
    """
    whole = jax.tree.leaves(trees)[0].shape[1]
    size = largest_divisor(whole, at_once)
    if size == whole:
        return function(*trees)

    def one_group(group):
        def cut(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, group * size, size, axis=1)

        return function(*jax.tree.map(cut, trees))

    def join(stacked):
        return jnp.moveaxis(stacked, 0, 1).reshape(stacked.shape[1], whole, *stacked.shape[3:])

    return jax.tree.map(join, jax.lax.map(one_group, jnp.arange(whole // size)))
