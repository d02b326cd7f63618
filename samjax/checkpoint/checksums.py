"""Checksums of a state's arrays, to find what a disk, a network or a memory has changed.

Orbax stores arrays in compressed chunks without a checksum of their contents: a flipped bit may load without an error.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped, UInt32

from samjax.core.tree import named_leaves

Record = dict[str, dict[str, Any]]
"""What a checkpoint says of its arrays, as JSON: by path name the `shape`, `dtype` and `sums` of each."""

# Of the two sums' weights: odd numbers without a pattern, so that no place counts like its neighbour.
_FACTORS = (0x9E3779B1, 0x85EBCA77)


def record(state: Any) -> tuple[Record, bool]:
    """Return the record of `state`, and whether all its numbers are finite; computed where the arrays are.

    A sum is over 32-bit words times odd weights of their places, modulo 2^32: it does not depend on how an array is
    split, and any single changed word changes it.
    """
    leaves = named_leaves(state)
    sums, finite = jax.device_get(_inspect(leaves))
    arrays = {
        name: {
            "shape": list(leaf.shape),
            "dtype": str(leaf.dtype),
            "sums": [int(part) for part in sums[name]],
        }
        for name, leaf in leaves.items()
    }
    return arrays, bool(finite)


def differences(saved: Record, state: Any) -> list[str]:
    """Return how `state` differs from the record it was saved with, a phrase for each array; empty if it does not."""
    now, _ = record(state)
    return compare(saved, now, fields=("shape", "dtype", "sums"))


def compare(saved: Mapping[str, Any], found: Mapping[str, Any], *, fields: tuple[str, ...]) -> list[str]:
    """Return a phrase for each array of either whose `fields` are not those of the other."""
    said = []
    for name in sorted({*saved, *found}):
        if name not in saved or name not in found:
            said.append(f"{name} is {'missing' if name in saved else 'not of this checkpoint'}")
            continue
        wrong = [field for field in fields if saved[name].get(field) != found[name].get(field)]
        if wrong == ["sums"]:
            said.append(f"{name} has other contents than were saved")
        elif wrong:
            said.append(f"{name} has {wrong[0]} {found[name].get(wrong[0])}, saved {saved[name].get(wrong[0])}")
    return said


@jax.jit
def _inspect(leaves: dict[str, Array]) -> tuple[dict[str, tuple[Array, Array]], Bool[Array, ""]]:
    finite = jnp.bool_(True)
    for leaf in leaves.values():
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            finite &= jnp.isfinite(leaf).all()
    return {name: (_sum(leaf, _FACTORS[0]), _sum(leaf, _FACTORS[1])) for name, leaf in leaves.items()}, finite


def _sum(x: Shaped[Array, "*n"], factor: int) -> UInt32[Array, ""]:
    words = _words(x)
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis, size in enumerate(words.shape):
        place = place * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    weight = (place + 1) * jnp.uint32(factor)
    weight = (weight ^ (weight >> 15)) * jnp.uint32(factor) | 1
    return jnp.sum(words * weight, dtype=jnp.uint32)


def _words(x: Shaped[Array, "*n"]) -> UInt32[Array, "*m"]:
    """Return the bits of `x`, a number or half of one a word."""
    if x.dtype == jnp.bool_:
        return x.astype(jnp.uint32)
    unsigned = jnp.dtype(f"uint{8 * min(4, x.dtype.itemsize)}")
    return jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32)
